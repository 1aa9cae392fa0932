"""Messages: the search by id, number or reference, and the page of one message with its history."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from apps.balance.models import Account, LedgerEntry
from apps.console import cells
from apps.console.access import console_page, page, read_only
from apps.console.listing import LIMIT, RangeForm, filter_form, names_of, older_query, text_field, ulid_field
from apps.console.pages.start import operator_problem
from apps.console.tables import callback_table, message_table
from apps.customers.models import Customer
from apps.sms import statuses
from apps.sms.messages.selectors import current_status, message_get, message_history, messages_find
from apps.sms.models import Callback, HeldMessage, Message, ReceiptNote, ScheduledEntry
from apps.sms.numbers import NotMobile, plan_of, without_marks
from smsgateway import ids
from smsgateway.errors import GatewayError

_REFRESHED_FOR: Final = dt.timedelta(hours=72)
_WAITING: Final = (statuses.ACCEPTED, statuses.QUEUED)


class MessageFilters(RangeForm):
    q = text_field("Id, number or reference", max_length=200)
    customer = ulid_field("Customer's id")


@console_page("sms.view_message", "customers.view_customer")
@read_only
def messages_page(request: HttpRequest) -> HttpResponse:
    """The newest messages, or those that match the search."""
    form = filter_form(request, MessageFilters)
    wanted = form.page()
    found, searched = [], ""
    if form.is_valid():
        text = " ".join(form.cleaned_data["q"].split())
        chosen: dict[str, Any] = {"customer_id": form.cleaned_data["customer"]}
        if (message_id := _id_in(text)) is not None and Message.objects.filter(id=message_id).exists():
            return HttpResponseRedirect(cells.url("message", message_id))
        if number := _number_in(text):
            chosen["recipient"], searched = number, f"to {number}"
        elif text:
            chosen["reference"], searched = text, f"with the reference {text}"
        found = messages_find(page=wanted, limit=LIMIT + 1, **chosen)
    shown = found[:LIMIT]
    return page(
        request,
        "console/list.html",
        title="Messages",
        subtitle=searched,
        form=form,
        table=message_table(
            shown,
            currency=settings.CONFIG.sms.currency,
            names=names_of(listed.message.customer_id for listed in shown),
        ),
        older=older_query(request, found, shown[-1].message.id.int) if shown else "",
        empty=f"No messages {searched} in these days." if searched else "No messages in these days.",
    )


@console_page("sms.view_message", "customers.view_customer")
@read_only
def message_page(request: HttpRequest, message_id: UUID) -> HttpResponse:
    """One message: its history, its cost and its callbacks."""
    try:
        message = message_get(message_id=message_id)
    except GatewayError as error:  # not found, or archived
        raise Http404(f"{error.title}. {error.detail}") from None
    history = message_history(message=message)
    status = current_status(entry["status"] for entry in history)
    customer = Customer.objects.filter(id=message.customer_id).first()
    account = Account.objects.filter(customer_id=message.customer_id).first()
    currency = account.currency if account else settings.CONFIG.sms.currency
    user: Any = request.user
    callbacks = []
    if user.has_perm("sms.view_callback"):
        callbacks = list(Callback.objects.filter(message_id=message_id).order_by("id"))
    charge = LedgerEntry.objects.filter(id=message_id).first() if user.has_perm("balance.view_ledgerentry") else None
    refunded = sum(entry.get("refunded", 0) for entry in history)
    held = HeldMessage.objects.filter(message_id=message_id, is_held=True).first()
    waits = held is not None or ScheduledEntry.objects.filter(message_id=message_id).exists()
    changing = status not in statuses.FINAL and dt.datetime.now(tz=dt.UTC) - ids.moment(message_id) < _REFRESHED_FOR
    return page(
        request,
        "console/message.html",
        title=f"Message to {message.recipient}",
        message=message,
        ulid=ids.to_text(message_id),
        state=cells.label(status),
        changing=changing,
        problem=operator_problem(message.operator)
        if status in _WAITING and changing and user.has_perm("console.view_gateway")
        else "",
        held=held and {"since": cells.moment(held.held_at), "expires": cells.moment(held.expires_at)},
        may_cancel=waits and user.has_perm("sms.cancel_message"),
        steps=[_step(entry, currency, before) for entry, before in zip(history, [None, *history], strict=False)],
        facts=_facts(message, customer, currency, refunded, charge) + _notes(message_id),
        callbacks=callback_table(callbacks) if callbacks else None,
    )


def _step(entry: dict[str, Any], currency: str, before: dict[str, Any] | None) -> dict[str, Any]:
    details = []
    if entry.get("operator"):
        details.append(("operator", entry["operator"]))
    if entry.get("operator_message_id"):
        details.append(("operator's id", cells.code(entry["operator_message_id"])))
    if entry.get("error"):
        answered = entry["status"] == statuses.QUEUED
        details.append(("operator's last answer" if answered else "error", cells.code(entry["error"])))
    if entry.get("attempt"):
        details.append(("tries", f"{entry['attempt']:,}"))
    if entry.get("send_at"):
        details.append(("due", cells.moment(entry["send_at"])))
    if entry.get("refunded"):
        details.append(("refunded", cells.amount(entry["refunded"], currency)))
    after = (entry["at"] - before["at"]).total_seconds() if before else 0.0
    return {
        "status": entry["status"],
        "label": cells.label(entry["status"]),
        "at": cells.moment(entry["at"]),
        "after": f"+{after:,.1f} s" if before and after >= 0 else "",
        "details": details,
    }


def _facts(
    message: Message, customer: Customer | None, currency: str, refunded: int, charge: LedgerEntry | None
) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("customer", cells.customer(message.customer_id, customer.name if customer else None)),
        ("to", cells.code(message.recipient)),
        ("from", message.sender or cells.NOTHING),
        ("first operator", message.operator),
        ("text", message.text),
        ("encoding", f"{message.encoding}, {message.segments} segment{'s' if message.segments != 1 else ''}"),
        ("cost", cells.amount(message.cost, currency)),
        ("refunded", cells.amount(refunded, currency) if refunded else cells.NOTHING),
        ("priority", message.priority),
        ("reference", message.reference or cells.NOTHING),
        ("expires", cells.moment(message.expires_at)),
    ]
    if charge is not None:
        facts.insert(7, ("ledger entry", f"{charge.entry:,}"))
    if message.callback_url:
        facts.append(("callback URL", message.callback_url))
    if message.metadata:
        facts.append(("metadata", message.metadata))
    return facts


def _notes(message_id: UUID) -> list[tuple[str, Any]]:
    """What operators reported of it beside its final status."""
    note = ReceiptNote.objects.filter(message_id=message_id).first()
    if note is None:
        return []
    error = f", error {note.error}" if note.error else ""
    facts: list[tuple[str, Any]] = [
        (f"last report of {note.operator}", f"{note.state}{error}"),
        ("reported", cells.moment(ids.moment_of(note.at))),
    ]
    return facts + [(f"parameter {tag}", cells.code(value)) for tag, value in sorted(note.tlvs.items())]


def _id_in(text: str) -> UUID | None:
    try:
        return ids.from_text(without_marks(text))
    except ValueError:
        return None


def _number_in(text: str) -> str:
    try:
        return plan_of(settings.CONFIG.sms).to_e164(text) if text else ""
    except NotMobile:
        return ""
