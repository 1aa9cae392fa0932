"""What became of messages is noted for their customers, in the transaction that records it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, Protocol
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models.functions import Now

from apps.customers.callback_endpoints import endpoint_enabled
from apps.sms import statuses
from apps.sms.models import Callback
from smsgateway import ids, json
from smsgateway.metrics import CALLBACKS_ENQUEUED
from smsgateway.partitions.bounds import id_bounds, within

log = structlog.get_logger(__name__)

# What is told where the customer does not say: how a message ended, and that nobody knows.
USUAL: Final = tuple(status for status in statuses.ORDER if status in statuses.FINAL or status == statuses.UNKNOWN)

# One statement for a batch, whoever's messages they are: with nobody to tell it is one look at the batch's messages.
# Ascending, so that two settlements of the same events wait for each other and never both.
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
    """That a message reached a status, such as a row of the status log."""

    message_id: UUID
    status: str
    at: dt.datetime


def callbacks_enqueue(*, entries: Sequence[Reached]) -> int:
    """Note a callback for each of these that its customer wants to be told of; how many they are.

    To be called in the transaction that records them. One callback a message and status, however often it is called.
    """
    if not entries:
        return 0
    new_ids = ids.new_ids(len(entries))
    told = [
        {"id": new_id, "message_id": entry.message_id, "status": entry.status, "at": entry.at}
        for new_id, entry in zip(new_ids, entries, strict=True)
    ]
    bounds = id_bounds([entry.message_id for entry in entries])
    parameters = bounds | {"entries": json.encode(told).decode(), "usual": list(USUAL)}
    with connection.cursor() as cursor:
        cursor.execute(_ENQUEUE, parameters)
        count: int = cursor.rowcount
    if count:
        transaction.on_commit(lambda: CALLBACKS_ENQUEUED.inc(count))
    return count


def callback_test(*, customer_id: UUID) -> Callback:
    """Note a test of the customer's endpoint.

    Raises CustomerNotFound, CallbackEndpointNotFound or CallbackEndpointDisabled.
    """
    endpoint_enabled(customer_id=customer_id)
    # Due by the database's clock, as every row: clocks of several machines differ.
    callback = Callback(customer_id=customer_id, event=Callback.TEST, at=Now(), next_at=Now())
    callback.save(force_insert=True)
    callback.refresh_from_db()
    CALLBACKS_ENQUEUED.inc()
    return callback


def callback_replay(*, callback: Callback) -> Callback:
    """Send it again, from the first try on, whatever came of it; its id stays.

    Raises CallbackEndpointNotFound or CallbackEndpointDisabled if there is nowhere to send it.
    """
    if not callback.url:
        endpoint_enabled(customer_id=callback.customer_id)
    callback.status, callback.attempts = Callback.Status.PENDING, 0
    callback.next_at = Now()
    callback.save(update_fields=["status", "attempts", "next_at"])
    callback.refresh_from_db()
    log.info("callback_replayed", callback_id=ids.to_text(callback.id))
    return callback
