"""Settlement: status events become rows of the status log, and failures give the money back, once.

Kafka may bring an event twice. The status log's primary key (message, status) tells a repeated one; refunds are decided
under the account's lock, and a unique index allows one refund a message whatever happens here.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from apps.balance.services import Refund, account_refund, lock_account
from apps.sms import events, statuses
from apps.sms.callbacks.enqueue import callbacks_enqueue
from apps.sms.models import Message, OutboxEntry, StatusEntry
from smsgateway import ids
from smsgateway.metrics import REFUNDED_AMOUNT, REFUNDS, SETTLE_EVENTS, SETTLE_REPEATED


class Settled(NamedTuple):
    """What came of a batch of events. `unknown` are those of messages that do not exist."""

    recorded: int
    repeated: int
    refunded: int
    unknown: list[events.StatusChanged]


@transaction.atomic
def statuses_settle(*, batch: Sequence[events.StatusChanged]) -> Settled:
    """Record the events and refund what failed for good. Handling an event again changes nothing."""
    messages = _messages({ids.from_text(event.message_id) for event in batch})
    known: list[tuple[Message, events.StatusChanged]] = []
    unknown: list[events.StatusChanged] = []
    for event in batch:
        message = messages.get(ids.from_text(event.message_id))
        if message is None:
            unknown.append(event)
        else:
            known.append((message, event))
    payers = {message.customer_id for message, event in known if event.status in statuses.REFUNDABLE}
    accounts = {customer_id: lock_account(customer_id=customer_id) for customer_id in sorted(payers)}
    recorded = _recorded(messages)  # read under the locks: whoever refunded before us has committed
    entries: list[StatusEntry] = []
    refunds: defaultdict[UUID, list[Refund]] = defaultdict(list)
    for message, event in known:
        before = recorded[message.id]
        if event.status in before:
            continue
        refund = 0
        if event.status in statuses.REFUNDABLE and statuses.DELIVERED not in before and not any(before.values()):
            refund = message.cost
        if refund:
            refunds[message.customer_id].append(Refund(message.id, refund))
        before[event.status] = refund
        entries.append(_entry(message, event, refund))
    # Of rows that move no money another settlement may have written the same; a refund's must be ours alone.
    StatusEntry.objects.bulk_create((entry for entry in entries if not entry.refund), ignore_conflicts=True)
    StatusEntry.objects.bulk_create(entry for entry in entries if entry.refund)
    callbacks_enqueue(entries=entries)
    for customer_id, given_back in refunds.items():
        account_refund(account=accounts[customer_id], refunds=given_back)
        OutboxEntry.objects.bulk_create(_refund_event(customer_id, refund) for refund in given_back)
    transaction.on_commit(lambda: _count(entries, repeated=len(known) - len(entries)))
    return Settled(len(entries), len(known) - len(entries), sum(map(len, refunds.values())), unknown)


def _messages(message_ids: set[UUID]) -> dict[UUID, Message]:
    if not message_ids:
        return {}
    found = Message.objects.filter(id__in=message_ids, id__gte=min(message_ids), id__lte=max(message_ids))
    return {message.id: message for message in found.only("id", "customer_id", "cost")}


def _recorded(messages: dict[UUID, Message]) -> defaultdict[UUID, dict[str, int]]:
    """Per message the statuses already recorded, each with what it refunded."""
    recorded: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    if messages:
        found = StatusEntry.objects.filter(
            message_id__in=messages.keys(), message_id__gte=min(messages), message_id__lte=max(messages)
        )
        for message_id, status, refund in found.values_list("message_id", "status", "refund"):
            recorded[message_id][status] = refund
    return recorded


def _entry(message: Message, event: events.StatusChanged, refund: int) -> StatusEntry:
    return StatusEntry(
        message_id=message.id,
        status=event.status,
        at=dt.datetime.fromtimestamp(event.at / 1000, tz=dt.UTC),
        operator=event.operator,
        operator_message_id=event.operator_message_id,
        error=event.error,
        attempt=event.attempt,
        refund=refund,
    )


def _refund_event(customer_id: UUID, refund: Refund) -> OutboxEntry:
    event = events.refunded(customer_id, refund.message_id, refund.amount)
    return OutboxEntry(customer_id=customer_id, message_id=refund.message_id, payload=events.encode(event))


def _count(entries: Sequence[StatusEntry], *, repeated: int) -> None:
    SETTLE_REPEATED.inc(repeated)
    for entry in entries:
        SETTLE_EVENTS.labels(entry.status).inc()
        if entry.refund:
            REFUNDS.labels(entry.status).inc()
            REFUNDED_AMOUNT.inc(entry.refund)
