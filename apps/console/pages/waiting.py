"""Waiting messages of one customer: held while it is suspended, or scheduled. Shows and cancels them."""

from __future__ import annotations

import time
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from apps.console import cells
from apps.console.access import console_page, page, read_only
from apps.console.audit import act_note
from apps.console.pages.customers import ReasonForm, customer_or_404
from apps.sms.errors import NotCancelable
from apps.sms.messages.selectors import message_get
from apps.sms.models import HeldMessage, ScheduledEntry
from apps.sms.settlement.cancel import (
    MAX_COUNTED,
    Waiting,
    message_cancel,
    messages_cancel_waiting,
    waiting_count,
)
from smsgateway import ids, money
from smsgateway.errors import GatewayError

_LISTED: Final = 50
_SECONDS: Final = 8.0  # one request cancels for this long; the rest waits for the next


def count_text(count: int) -> str:
    """A count as text; the + shows that counting stopped at its bound."""
    return f"{count:,}{'+' if count >= MAX_COUNTED else ''}"


@console_page("sms.view_message", "customers.view_customer")
@read_only
def waiting_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """The customer's waiting messages, the next one to be sent first."""
    customer = customer_or_404(customer_id)
    waiting = waiting_count(customer_id=customer_id)
    held = HeldMessage.objects.filter(customer_id=customer_id, is_held=True).order_by("rank", "due_at", "message_id")
    scheduled = ScheduledEntry.objects.filter(customer_id=customer_id).order_by("send_at")
    user: Any = request.user
    return page(
        request,
        "console/waiting.html",
        title=f"Waiting messages of {customer.name}",
        customer=customer,
        counts=_counts(waiting),
        held={
            "headers": ["message", "held since", "expires", "tries"],
            "rows": [
                [cells.message(row.message_id), cells.moment(row.held_at), cells.moment(row.expires_at), row.attempts]
                for row in held[:_LISTED]
            ],
        },
        scheduled={
            "headers": ["message", "due"],
            "rows": [[cells.message(row.message_id), cells.moment(row.send_at)] for row in scheduled[:_LISTED]],
        },
        may_cancel=any(waiting) and user.has_perm("sms.cancel_message"),
    )


@console_page("sms.view_message", "sms.cancel_message")
def waiting_cancel_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """Cancel all waiting messages of a customer, with a reason."""
    customer = customer_or_404(customer_id)
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        count = refunded = 0
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            with transaction.atomic():
                done = messages_cancel_waiting(customer_id=customer_id)
                if done.messages:
                    act_note(
                        request=request,
                        act="message.cancel",
                        subject=f"{done.messages} waiting messages of {customer}",
                        customer_id=customer_id,
                        why=form.cleaned_data["why"],
                        messages=done.messages,
                        refunded=done.refunded,
                        changes=[("given back", "", money.with_currency(done.refunded, customer.account.currency))],
                    )
            if not done.messages:
                break
            count += done.messages
            refunded += done.refunded
        left = waiting_count(customer_id=customer_id)
        amount = money.with_currency(refunded, customer.account.currency)
        messages.success(request, f"{count:,} messages canceled, {amount} refunded.")
        if any(left):
            messages.warning(request, f"{_counts(left)} remain. Cancel again to continue.")
        return HttpResponseRedirect(cells.url("waiting", customer_id))
    return page(
        request,
        "console/form.html",
        title=f"Cancel the waiting messages of {customer.name}",
        form=form,
        back=cells.url("waiting", customer_id),
        intro=f"{_counts(waiting_count(customer_id=customer_id))} will not be sent, and their cost is refunded.",
        button="Cancel messages",
        danger=True,
        hidden={},
    )


@console_page("sms.view_message", "sms.cancel_message")
def message_cancel_page(request: HttpRequest, message_id: UUID) -> HttpResponse:
    """Cancel one message that is scheduled or held, with a reason."""
    try:
        message = message_get(message_id=message_id)
    except GatewayError as error:
        raise Http404(f"{error.title}. {error.detail}") from None
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                done = message_cancel(message=message)
                currency = customer_or_404(message.customer_id).account.currency
                act_note(
                    request=request,
                    act="message.cancel",
                    subject=ids.to_text(message_id),
                    customer_id=message.customer_id,
                    why=form.cleaned_data["why"],
                    messages=1,
                    refunded=done.refunded,
                    changes=[("given back", "", money.with_currency(done.refunded, currency))],
                )
        except NotCancelable as error:
            messages.error(request, f"The message was not canceled. {error.detail}")
        else:
            messages.success(request, "The message was canceled and its cost refunded.")
        return HttpResponseRedirect(cells.url("message", message_id))
    return page(
        request,
        "console/form.html",
        title=f"Cancel the message to {message.recipient}",
        form=form,
        back=cells.url("message", message_id),
        intro="The message will not be sent, and its cost is refunded.",
        button="Cancel message",
        danger=True,
        hidden={},
    )


def _counts(waiting: Waiting) -> str:
    return f"{count_text(waiting.held)} held and {count_text(waiting.scheduled)} scheduled messages"
