"""Canceling messages that wait: they are not sent, and their cost is refunded, in one transaction.

A message waits in the schedule, or is held because its customer is suspended. Its row there decides: only one of the
relay and the cancellations can take it, and the message belongs to the one that does (see
`apps.sms.suspension.held_messages`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.balance.models import Account
from apps.balance.services import Refund, account_refund, lock_account
from apps.sms import events, statuses
from apps.sms.callbacks.enqueue import callbacks_enqueue
from apps.sms.errors import NotCancelable
from apps.sms.messages.selectors import messages_ended
from apps.sms.messages.work_orders import messages_of
from apps.sms.models import Message, ScheduledEntry, StatusEntry
from apps.sms.outbox.writer import OutboxEvent, outbox_add
from apps.sms.suspension.held_messages import held_take
from smsgateway.metrics import REFUNDED_AMOUNT, REFUNDS, SMS_CANCELED

BATCH: Final = 500
MAX_COUNTED: Final = 10_000

# Rows that the relay holds at this moment, or had claimed when it died, are skipped. A message with a status other than
# `queued` is not canceled: it was submitted, or has ended.
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


class Canceled(NamedTuple):
    """What was refunded, and the balance now, both in minor units."""

    refunded: int
    balance: int


class CanceledMany(NamedTuple):
    """How many messages were canceled, and what was refunded, in minor units."""

    messages: int
    refunded: int


class Waiting(NamedTuple):
    """How many messages of a customer wait, each counted up to MAX_COUNTED."""

    held: int
    scheduled: int


@transaction.atomic
def message_cancel(*, message: Message) -> Canceled:
    """Cancel a message. Canceling it again changes nothing.

    Raises NotCancelable if it was not scheduled or is due already, and is not held either.
    """
    account = lock_account(customer_id=message.customer_id)
    deleted, _ = ScheduledEntry.objects.filter(message_id=message.id).delete()
    if not deleted and not held_take(message_id=message.id):
        before = StatusEntry.objects.filter(message_id=message.id, status=statuses.CANCELED).first()
        if before is None:
            raise NotCancelable(_reason(message))
        return Canceled(before.refund, account.balance)
    if ended := messages_ended(message_ids=[message.id]):
        # Earlier versions recorded receipts before the submit. A refund, if any, was made with that status.
        raise NotCancelable(f"It has ended: {ended[message.id]}.")
    refunded = _cancel(account, [message])
    return Canceled(refunded, account.balance)


@transaction.atomic
def messages_cancel_waiting(*, customer_id: UUID, limit: int = BATCH) -> CanceledMany:
    """Cancel up to `limit` of the customer's held messages, then of its scheduled ones, and refund their cost.

    Call it again until nothing is left. Raises CustomerNotFound.
    """
    account = lock_account(customer_id=customer_id)
    taken: list[UUID] = []
    with connection.cursor() as cursor:
        for statement in (_TAKE_HELD, _TAKE_SCHEDULED):
            if len(taken) < limit:
                cursor.execute(statement, {"customer_id": customer_id, "limit": limit - len(taken)})
                taken += [message_id for (message_id,) in cursor.fetchall()]
    messages = list(messages_of(taken).values())
    refunded = _cancel(account, messages) if messages else 0
    return CanceledMany(len(messages), refunded)


def waiting_count(*, customer_id: UUID) -> Waiting:
    """Count the customer's held and scheduled messages."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"customer_id": customer_id, "limit": MAX_COUNTED})
        return Waiting(*cursor.fetchone())


def _cancel(account: Account, messages: Sequence[Message]) -> int:
    """Record that messages of one customer are canceled, and refund them; return the amount, in minor units.

    The caller holds the account's lock and has taken the messages' waiting rows in this transaction.
    """
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
    outbox_add(
        OutboxEvent(message.customer_id, message.id, event) for message in messages for event in _events(message, now)
    )
    amount = sum(refund.amount for refund in refunds)
    transaction.on_commit(lambda: _count(len(messages), len(refunds), amount))
    return amount


def _events(message: Message, now: dt.datetime) -> list[events.StatusTopicEvent]:
    canceled = events.status_changed(
        message, status=statuses.CANCELED, at=int(now.timestamp() * 1000), operator=message.operator
    )
    if not message.cost:
        return [canceled]
    refunded = events.refunded(customer_id=message.customer_id, message_id=message.id, amount=message.cost)
    return [canceled, refunded]


def _reason(message: Message) -> str:
    if message.send_at is None:
        return "It was not scheduled (send_at)."
    return "It is due: it is on its way, or has ended."


def _count(messages: int, refunds: int, amount: int) -> None:
    SMS_CANCELED.inc(messages)
    REFUNDS.labels(statuses.CANCELED).inc(refunds)
    REFUNDED_AMOUNT.inc(amount)
