"""Refunds that Kafka knows and a restored database does not: of canceled messages, for example.

The refund of a failure follows from its status, when that is settled again. A cancellation's does not: its amount is in
the `refund` event alone. Each is booked once: the status log allows one refund for each message.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.balance.services import Refund, accounts_refund, lock_accounts
from apps.sms import events, statuses
from apps.sms.models import Message, StatusEntry
from smsgateway import ids
from smsgateway.partitions.bounds import among


class Refunds(NamedTuple):
    """How many were booked now, and the messages that are unknown or have no status to refund."""

    booked: int
    unknown: list[UUID]


@transaction.atomic
def refunds_rebook(*, batch: Sequence[events.Refunded]) -> Refunds:
    """Book the refunds of messages that were not refunded yet. Doing it again changes nothing."""
    amounts = {ids.from_text(event.message_id): event.amount for event in batch if event.amount > 0}
    if not amounts:
        return Refunds(0, [])
    customers = dict(Message.objects.filter(**among("id", amounts)).values_list("id", "customer_id"))
    accounts = lock_accounts(customer_ids=set(customers.values()))
    reached: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for message_id, status, refund in StatusEntry.objects.filter(**among("message_id", amounts)).values_list(
        "message_id", "status", "refund"
    ):
        reached[message_id][status] = refund
    due: list[tuple[UUID, str, int]] = []
    unknown: list[UUID] = []
    for message_id, amount in amounts.items():
        refunded = _refunded_status(reached[message_id])
        if message_id not in customers or refunded is None:
            unknown.append(message_id)
        elif not any(reached[message_id].values()):
            due.append((message_id, refunded, amount))
    refunds: defaultdict[UUID, list[Refund]] = defaultdict(list)
    with connection.cursor() as cursor:
        for message_id, status, amount in due:
            cursor.execute(
                "UPDATE sms_statusentry SET refund = %s WHERE message_id = %s AND status = %s AND refund = 0",
                [amount, message_id, status],
            )
            refunds[customers[message_id]].append(Refund(message_id, amount))
    accounts_refund(accounts=accounts, refunds=refunds)
    return Refunds(len(due), unknown)


def _refunded_status(reached: dict[str, int]) -> str | None:
    """The status that the refund belongs to: the cancellation, or the furthest failure."""
    if statuses.CANCELED in reached:
        return statuses.CANCELED
    failures = statuses.REFUNDABLE & reached.keys()
    return max(failures, key=statuses.RANK.__getitem__) if failures else None
