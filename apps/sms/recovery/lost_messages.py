"""Messages that Kafka knows and a restored database does not: stored and charged again, under their own ids.

A work order has all of a message but the caller's reference, metadata and callback URL. A message that was accepted but
not handed to a worker yet (it was scheduled, or held) is on `sms.accepted` alone, without number and text: it is stored
with both empty, so that its charge has a message, and ends as failed and refunded (`textless_end`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.balance.models import Account, LedgerEntry
from apps.balance.rebook import Lost, entries_rebook
from apps.balance.services import Refund, accounts_refund, lock_accounts
from apps.customers.models import Customer
from apps.sms import events, statuses
from apps.sms.callbacks.enqueue import callbacks_enqueue
from apps.sms.models import Message, StatusEntry
from apps.sms.outbox.writer import OutboxEvent, outbox_add
from smsgateway import ids
from smsgateway.partitions.bounds import among, id_bounds
from smsgateway.partitions.lookup import archived_at
from smsgateway.postgres.copy import copy_rows

TEXT_LOST: Final = "text_lost"
_TABLE: Final = Message._meta.db_table
_COLUMNS: Final = (
    "id",
    "customer_id",
    "recipient",
    "sender",
    "text",
    "encoding",
    "segments",
    "cost",
    "operator",
    "reference",
    "expires_at",
    "send_at",
    "priority",
    "callback_url",
)
# Messages have no empty number otherwise. OFFSET 0: each is looked up in the log by its key.
_TEXTLESS: Final = """
SELECT id FROM sms_message AS message
 WHERE id >= %(low)s AND id < %(high)s AND recipient = ''
   AND NOT EXISTS (
      SELECT FROM sms_statusentry AS log WHERE log.message_id = message.id AND log.status <> 'queued' OFFSET 0)
 ORDER BY id LIMIT %(limit)s
"""
_SCHEDULED: Final = """
UPDATE sms_message AS message
   SET send_at = to_timestamp(due.at / 1000.0::float8)
  FROM unnest(%(ids)s::uuid[], %(due)s::bigint[]) AS due (id, at)
 WHERE message.id = due.id AND message.id >= %(lowest)s AND message.id <= %(highest)s AND message.send_at IS NULL
"""


class Stored(NamedTuple):
    """What was stored and charged now: ids of messages; those that a balance does not cover yet; minor units added."""

    messages: set[UUID]
    uncovered: set[UUID]
    added: dict[UUID, int]


def messages_missing(*, message_ids: Collection[UUID]) -> set[UUID]:
    """Those of these messages that are neither in the database nor in the archive."""
    if not message_ids:
        return set()
    known = set(Message.objects.filter(**among("id", message_ids)).values_list("id", flat=True))
    return {id_ for id_ in message_ids if id_ not in known and archived_at(_TABLE, id_) is None}


def message_of(event: events.DeliveryRequested) -> Message:
    """The message of a work order."""
    return Message(
        id=ids.from_text(event.message_id),
        customer_id=ids.from_text(event.customer_id),
        recipient=event.to,
        sender=event.sender,
        text=event.text,
        encoding=event.encoding,
        segments=event.segments,
        cost=event.cost,
        operator=event.operator,
        reference="",
        expires_at=ids.moment_of(event.expires_at),
        send_at=None,
        priority=event.priority,
        callback_url="",
    )


def textless_message_of(event: events.MessageAccepted) -> Message:
    """The message of which only the facts are known."""
    return Message(
        id=ids.from_text(event.message_id),
        customer_id=ids.from_text(event.customer_id),
        recipient="",
        sender="",
        text="",
        encoding=event.encoding,
        segments=event.segments,
        cost=event.cost,
        operator=event.operator,
        reference="",
        expires_at=ids.moment_of(max(event.accepted_at, event.due_at)),
        send_at=ids.moment_of(event.due_at) if event.due_at else None,
        priority=Message.Priority.NORMAL,
        callback_url="",
    )


@transaction.atomic
def messages_store(*, messages: Sequence[Message], cover: bool) -> Stored:
    """Store and charge those of the messages that the database does not have. Their customers must exist.

    A message whose cost the balance does not cover is left out. With `cover` the missing amount is added first, as an
    adjustment: the balance covered the message when it was accepted.
    """
    accounts = lock_accounts(customer_ids={message.customer_id for message in messages})
    missing = messages_missing(message_ids={message.id for message in messages})
    new = list({message.id: message for message in messages if message.id in missing}.values())
    rebooked = entries_rebook(accounts=accounts, lost=[_charge(message) for message in new], cover=cover)
    paid = [message for message in new if message.id not in rebooked.uncovered]
    with connection.cursor() as cursor:
        copy_rows(cursor, _TABLE, _COLUMNS, ([getattr(one, name) for name in _COLUMNS] for one in paid))
    return Stored({message.id for message in paid}, rebooked.uncovered, rebooked.added)


def _charge(message: Message) -> Lost:
    return Lost(message.id, message.customer_id, LedgerEntry.Kind.CHARGE, -message.cost, message_id=message.id)


def send_times_store(*, accepted: Iterable[events.MessageAccepted]) -> None:
    """Store when scheduled messages were to be sent: their work orders do not say so."""
    due = {ids.from_text(event.message_id): event.due_at for event in accepted if event.due_at}
    if due:
        with connection.cursor() as cursor:
            parameters: dict[str, Any] = id_bounds(due.keys())
            parameters["due"] = list(due.values())
            cursor.execute(_SCHEDULED, parameters)


def textless_end(*, since: dt.datetime, limit: int = 500) -> list[UUID]:
    """End up to `limit` messages whose text is lost, as failed, and refund them; return their ids.

    Call it after all statuses were settled, until it returns none: what has a status was canceled, or is known.
    """
    now = dt.datetime.now(tz=dt.UTC)
    bounds: dict[str, Any] = {
        "low": ids.lowest_id(since),
        "high": ids.lowest_id(now + dt.timedelta(days=1)),
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TEXTLESS, bounds)
        found = [message_id for (message_id,) in cursor.fetchall()]
    if found:
        _end(found, now)
    return found


@transaction.atomic
def _end(message_ids: Sequence[UUID], now: dt.datetime) -> None:
    messages = list(Message.objects.filter(**among("id", message_ids)))
    accounts = lock_accounts(customer_ids={message.customer_id for message in messages})
    entries = [
        StatusEntry(
            message_id=message.id,
            status=statuses.FAILED,
            at=now,
            operator=message.operator,
            operator_message_id="",
            error=TEXT_LOST,
            attempt=0,
            refund=message.cost,
        )
        for message in messages
    ]
    StatusEntry.objects.bulk_create(entries)
    callbacks_enqueue(entries=entries)
    refunds: dict[UUID, list[Refund]] = {}
    for message in messages:
        if message.cost:
            refunds.setdefault(message.customer_id, []).append(Refund(message.id, message.cost))
    accounts_refund(accounts=accounts, refunds=refunds)
    outbox_add(OutboxEvent(one.customer_id, one.id, event) for one in messages for event in _events(one, now))


def _events(message: Message, now: dt.datetime) -> list[events.StatusTopicEvent]:
    failed = events.status_changed(
        message,
        status=statuses.FAILED,
        at=int(now.timestamp() * 1000),
        operator=message.operator,
        error=TEXT_LOST,
    )
    if not message.cost:
        return [failed]
    return [failed, events.refunded(customer_id=message.customer_id, message_id=message.id, amount=message.cost)]


def customers_missing(*, customer_ids: Collection[UUID]) -> set[UUID]:
    """Those of these customers that have no account."""
    return set(customer_ids) - set(
        Account.objects.filter(customer_id__in=customer_ids).values_list("customer_id", flat=True)
    )


@transaction.atomic
def customer_store(*, customer_id: UUID, name: str, pace: int, currency: str, status: str) -> None:
    """Store a customer that the database lost, under its own id, with an account of 0."""
    Customer.objects.get_or_create(
        id=customer_id, defaults={"name": name[:200], "segments_per_second": max(pace, 1), "status": status}
    )
    Account.objects.get_or_create(customer_id=customer_id, defaults={"currency": currency})
