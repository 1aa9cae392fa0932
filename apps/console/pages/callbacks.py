"""The log of callbacks; one can be sent again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect

from apps.console import cells
from apps.console.access import console_page, page, read_only
from apps.console.audit import act_note
from apps.console.listing import LIMIT, RangeForm, choice_field, filter_form, names_of, older_query, ulid_field
from apps.console.tables import callback_answer, callback_table
from apps.sms.callbacks.enqueue import callback_replay
from apps.sms.callbacks.payload import event_type
from apps.sms.callbacks.selectors import callback_get
from apps.sms.errors import CallbackNotFound
from apps.sms.models import Callback
from smsgateway import ids
from smsgateway.errors import GatewayError


class CallbackFilters(RangeForm):
    status = choice_field("Status", list(Callback.Status.values))
    message = ulid_field("Message's id")
    customer = ulid_field("Customer's id")


@console_page("sms.view_callback")
@read_only
def callbacks_page(request: HttpRequest) -> HttpResponse:
    """The newest callbacks and their results."""
    form = filter_form(request, CallbackFilters)
    wanted = form.page()
    found = Callback.objects.filter(id__gte=ids.lowest_id(wanted.since), id__lt=ids.lowest_id(wanted.until))
    if form.is_valid():
        chosen = form.cleaned_data
        names = {"status": chosen["status"], "message_id": chosen["message"], "customer_id": chosen["customer"]}
        found = found.filter(**{name: value for name, value in names.items() if value})
        if wanted.before is not None:
            found = found.filter(id__lt=UUID(int=min(wanted.before, 2**128 - 1)))
    callbacks = list(found.order_by("-id")[: LIMIT + 1])
    shown = callbacks[:LIMIT]
    return page(
        request,
        "console/list.html",
        title="Callbacks",
        form=form,
        table=callback_table(shown),
        older=older_query(request, callbacks, shown[-1].id.int) if shown else "",
        empty="No callbacks in these days.",
    )


@console_page("sms.view_callback")
@read_only
def callback_page(request: HttpRequest, callback_id: UUID) -> HttpResponse:
    """One callback and its last attempt."""
    callback = _callback_or_404(callback_id)
    user: Any = request.user
    names = names_of([callback.customer_id])
    facts = [
        ("status", cells.label(callback.status)),
        ("customer", cells.customer(callback.customer_id, names.get(callback.customer_id))),
        ("message", cells.message(callback.message_id)),
        ("event at", cells.moment(callback.at)),
        ("created", cells.moment(ids.moment(callback.id))),
        ("tries", str(callback.attempts)),
        ("last try", cells.moment(callback.last_at)),
        ("last URL", callback.last_url or callback.url or cells.NOTHING),
        ("last answer", callback_answer(callback) or cells.NOTHING),
        ("next try", cells.moment(callback.next_at if callback.status == Callback.Status.PENDING else None)),
    ]
    return page(
        request,
        "console/callback.html",
        title=f"Callback {event_type(callback.event)}",
        ulid=ids.to_text(callback_id),
        facts=facts,
        replay_url=cells.url("callback-replay", callback_id) if user.has_perm("sms.replay_callback") else "",
    )


@console_page("sms.view_callback", "sms.replay_callback")
def callback_replay_page(request: HttpRequest, callback_id: UUID) -> HttpResponse:
    """Send it again. POST only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    callback = _callback_or_404(callback_id)
    try:
        with transaction.atomic():
            callback_replay(callback=callback)
            act_note(
                request=request,
                act="callback.replay",
                subject=f"{event_type(callback.event)} {ids.to_text(callback_id)}",
                customer_id=callback.customer_id,
            )
    except GatewayError as error:
        messages.error(request, f"The callback was not sent again. {error.title}. {error.detail}")
    else:
        messages.success(request, "The callback is sent again within a second, with the same id.")
    return HttpResponseRedirect(cells.url("callback", callback_id))


def _callback_or_404(callback_id: UUID) -> Callback:
    try:
        return callback_get(callback_id=callback_id)
    except CallbackNotFound:
        raise Http404("No callback has this id, or it is no longer kept.") from None
