"""Enqueues callbacks, in the transaction that records the statuses they report."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, Protocol
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models.functions import Now

from apps.customers.callback_endpoints import DEFAULT_STATUSES, endpoint_enabled
from apps.sms.models import Callback
from smsgateway import ids, json
from smsgateway.metrics import CALLBACKS_ENQUEUED
from smsgateway.partitions.bounds import id_bounds, within

log = structlog.get_logger(__name__)

# One statement for a batch of any customers' messages. If no customer wants a callback, it only reads the messages.
# In ascending order, so that two transactions with the same messages cannot deadlock.
_ENQUEUE: Final = f"""
INSERT INTO sms_callback
       (id, customer_id, message_id, event, at, url, host, status, attempts, next_at, last_url, last_error)
SELECT entry.id, message.customer_id, message.id, entry.status, entry.at, message.callback_url,
       coalesce(lower(substring(message.callback_url FROM '^[^:/?#]+://[^/?#]+')), ''), 'pending', 0, now(), '', ''
  FROM json_to_recordset(%(entries)s::json) AS entry (id uuid, message_id uuid, status text, at timestamptz)
  JOIN sms_message AS message
    ON message.id = entry.message_id AND {within("message.id")}
  LEFT JOIN customers_callbackendpoint AS endpoint ON endpoint.customer_id = message.customer_id
 WHERE (message.callback_url <> '' OR endpoint.customer_id IS NOT NULL AND endpoint.disabled_at IS NULL)
   AND entry.status = ANY (coalesce(endpoint.statuses::text[], %(usual)s::text[]))
 ORDER BY message.id, entry.status
    ON CONFLICT (message_id, event) DO NOTHING
"""


class Reached(Protocol):
    """A status that a message reached, such as a row of the status log."""

    message_id: UUID
    status: str
    at: dt.datetime


def callbacks_enqueue(*, entries: Sequence[Reached]) -> int:
    """Enqueue a callback for each status that the message's customer wants one for. Returns how many.

    Call it in the transaction that records the statuses. Repeated calls make one callback for each message and status.
    """
    if not entries:
        return 0
    new_ids = ids.new_ids(len(entries))
    rows = [
        {"id": new_id, "message_id": entry.message_id, "status": entry.status, "at": entry.at}
        for new_id, entry in zip(new_ids, entries, strict=True)
    ]
    bounds = id_bounds([entry.message_id for entry in entries])
    parameters = bounds | {"entries": json.encode(rows).decode(), "usual": list(DEFAULT_STATUSES)}
    with connection.cursor() as cursor:
        cursor.execute(_ENQUEUE, parameters)
        count: int = cursor.rowcount
    if count:
        transaction.on_commit(lambda: CALLBACKS_ENQUEUED.inc(count))
    return count


def callback_test(*, customer_id: UUID) -> Callback:
    """Enqueue a test event to the customer's endpoint.

    Raises CustomerNotFound, CallbackEndpointNotFound or CallbackEndpointDisabled.
    """
    endpoint_enabled(customer_id=customer_id)
    # Due by the database's clock, like every row, because the clocks of machines differ.
    callback = Callback(customer_id=customer_id, event=Callback.TEST, at=Now(), next_at=Now())
    callback.save(force_insert=True)
    callback.refresh_from_db()
    CALLBACKS_ENQUEUED.inc()
    return callback


def callback_replay(*, callback: Callback) -> Callback:
    """Send the callback again, with the same id and all of its tries.

    Raises CallbackEndpointNotFound or CallbackEndpointDisabled if there is no URL to send it to.
    """
    if not callback.url:
        endpoint_enabled(customer_id=callback.customer_id)
    callback.status, callback.attempts = Callback.Status.PENDING, 0
    callback.next_at = Now()
    callback.save(update_fields=["status", "attempts", "next_at"])
    callback.refresh_from_db()
    log.info("callback_replayed", callback_id=ids.to_text(callback.id))
    return callback
