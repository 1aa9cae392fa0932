"""Cancelling what waits of a customer: messages that are held for its suspension, and those that are scheduled."""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.balance.services import Refund, account_refund, lock_account
from apps.sms import events, statuses
from apps.sms.callbacks.enqueue import callbacks_enqueue
from apps.sms.messages.work_orders import messages_of
from apps.sms.models import Message, OutboxEntry, StatusEntry
from smsgateway import ids
from smsgateway.metrics import REFUNDED_AMOUNT, REFUNDS, SMS_CANCELED
from smsgateway.postgres.copy import copy_rows

BATCH: Final = 500
MOST_COUNTED: Final = 10_000

# Who takes the row has the message: this, the relay, or another cancellation. Rows that the relay has at this moment,
# or had when it died, are passed over. What has a status already, beside `queued`, is not canceled: it was submitted,
# or has ended.
_TAKE_HELD: Final = """
UPDATE sms_heldmessage
   SET is_held = false
 WHERE message_id = ANY (ARRAY(
    SELECT message_id FROM sms_heldmessage AS held
     WHERE held.is_held AND NOT held.is_going AND held.customer_id = %(customer_id)s
       AND NOT EXISTS (
        SELECT FROM sms_statusentry AS log
         WHERE log.message_id = held.message_id AND log.status <> 'queued' OFFSET 0)
     ORDER BY rank, due_at, message_id LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
RETURNING message_id
"""
_TAKE_SCHEDULED: Final = """
DELETE FROM sms_scheduledentry
 WHERE message_id = ANY (ARRAY(
    SELECT message_id FROM sms_scheduledentry AS waiting
     WHERE waiting.customer_id = %(customer_id)s
       AND NOT EXISTS (SELECT FROM sms_statusentry AS log WHERE log.message_id = waiting.message_id OFFSET 0)
     ORDER BY send_at LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
RETURNING message_id
"""
_COUNT: Final = """
SELECT (SELECT count(*) FROM (
          SELECT FROM sms_heldmessage WHERE is_held AND customer_id = %(customer_id)s LIMIT %(limit)s) AS held),
       (SELECT count(*) FROM (
          SELECT FROM sms_scheduledentry WHERE customer_id = %(customer_id)s LIMIT %(limit)s) AS scheduled)
"""
_OUTBOX_COLUMNS: Final = ("customer_id", "message_id", "payload")


class Waiting(NamedTuple):
    """How many messages of a customer wait, each counted up to MOST_COUNTED."""

    held: int
    scheduled: int


class CanceledMany(NamedTuple):
    """How many messages were canceled, and what was given back, in minor units."""

    messages: int
    refunded: int


def waiting_count(*, customer_id: UUID) -> Waiting:
    """What of the customer is held and scheduled."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"customer_id": customer_id, "limit": MOST_COUNTED})
        return Waiting(*cursor.fetchone())


@transaction.atomic
def messages_cancel_waiting(*, customer_id: UUID, limit: int = BATCH) -> CanceledMany:
    """Cancel up to `limit` of the customer's held messages, then of its scheduled ones, and give their cost back.

    To be called again until nothing is left. Raises CustomerNotFound.
    """
    account = lock_account(customer_id=customer_id)
    taken: list[UUID] = []
    with connection.cursor() as cursor:
        for statement in (_TAKE_HELD, _TAKE_SCHEDULED):
            if len(taken) < limit:
                cursor.execute(statement, {"customer_id": customer_id, "limit": limit - len(taken)})
                taken += [message_id for (message_id,) in cursor.fetchall()]
    messages = list(messages_of(taken).values())
    if not messages:
        return CanceledMany(0, 0)
    now = dt.datetime.now(tz=dt.UTC)
    entries = [
        StatusEntry(
            message_id=message.id,
            status=statuses.CANCELED,
            at=now,
            operator=message.operator,
            operator_message_id="",
            error="",
            attempt=0,
            refund=message.cost,
        )
        for message in messages
    ]
    StatusEntry.objects.bulk_create(entries)
    callbacks_enqueue(entries=entries)
    refunds = [Refund(message.id, message.cost) for message in messages if message.cost]
    if refunds:
        account_refund(account=account, refunds=refunds)
    with connection.cursor() as cursor:
        rows = (
            (customer_id, message.id, events.encode(event))
            for message in messages
            for event in _events_of(message, now)
        )
        copy_rows(cursor, OutboxEntry._meta.db_table, _OUTBOX_COLUMNS, rows)
    amount = sum(refund.amount for refund in refunds)
    transaction.on_commit(lambda: _count(len(messages), len(refunds), amount))
    return CanceledMany(len(messages), amount)


def _events_of(message: Message, now: dt.datetime) -> list[events.StatusTopicEvent]:
    told: list[events.StatusTopicEvent] = [
        events.StatusChanged(
            message_id=ids.to_text(message.id),
            customer_id=ids.to_text(message.customer_id),
            status=statuses.CANCELED,
            at=int(now.timestamp() * 1000),
            operator=message.operator,
            segments=message.segments,
            cost=message.cost,
        )
    ]
    if message.cost:
        told.append(events.refunded(message.customer_id, message.id, message.cost))
    return told


def _count(messages: int, refunds: int, amount: int) -> None:
    SMS_CANCELED.inc(messages)
    REFUNDS.labels(statuses.CANCELED).inc(refunds)
    REFUNDED_AMOUNT.inc(amount)
