"""Reads callbacks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from apps.customers.callback_endpoints import customer_require
from apps.sms.callbacks.payload import event_type
from apps.sms.errors import CallbackNotFound
from apps.sms.models import Callback
from smsgateway import ids
from smsgateway.http.paging import Page


def callback_get(*, callback_id: UUID) -> Callback:
    """The callback. Raises CallbackNotFound."""
    try:
        return Callback.objects.get(id=callback_id)
    except Callback.DoesNotExist:
        raise callback_not_found(callback_id) from None


def callback_not_found(callback_id: UUID) -> CallbackNotFound:
    """The error for a callback that does not exist, or belongs to another customer."""
    return CallbackNotFound(f"No callback has the id {ids.to_text(callback_id)}.")


def callbacks_list(
    *, customer_id: UUID, page: Page, message_id: UUID | None = None, status: str | None = None
) -> QuerySet[Callback]:
    """A page of the customer's callbacks, newest first, one more if there is a next page. Raises CustomerNotFound."""
    customer_require(customer_id=customer_id)
    found = Callback.objects.filter(
        customer_id=customer_id, id__gte=ids.lowest_id(page.since), id__lt=ids.lowest_id(page.until)
    )
    if page.before is not None:
        found = found.filter(id__lt=UUID(int=page.before))
    if message_id is not None:
        found = found.filter(message_id=message_id)
    if status is not None:
        found = found.filter(status=status)
    return found.order_by("-id")[: page.limit + 1]


def callback_entry(callback: Callback) -> dict[str, Any]:
    """The callback as the delivery log shows it."""
    return {
        "id": ids.to_text(callback.id),
        "message_id": callback.message_id and ids.to_text(callback.message_id),
        "type": event_type(callback.event),
        "timestamp": callback.at,
        "status": callback.status,
        "attempts": callback.attempts,
        "next_attempt_at": callback.next_at,
        "last_attempt_at": callback.last_at,
        "url": callback.url or callback.last_url,
        "http_status": callback.last_http_status,
        "error": callback.last_error,
    }
