"""Tells the statistics once more what PostgreSQL knows of messages: their events go to the outbox again.

Nobody is charged, sent to or refunded by that. The event that a message was accepted goes to `sms.accepted` alone,
never to delivery. Settlement, which reads the statuses too, knows each by its key (message, status) and passes over it;
a submit's ids are known as well. The bridge's rows replace themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from django.db import connection, transaction

from apps.sms import events, statuses
from apps.sms.messages.work_orders import accepted_event
from apps.sms.models import Message, OutboxEntry, StatusEntry
from smsgateway import ids
from smsgateway.postgres.copy import copy_rows

BATCH = 1000


def messages_reemit(*, message_ids: Sequence[UUID], currency: str) -> int:
    """Put every event of these messages into the outbox for the statistics; return how many events."""
    return sum(
        _reemit(sorted(message_ids[start : start + BATCH]), currency) for start in range(0, len(message_ids), BATCH)
    )


@transaction.atomic
def _reemit(message_ids: Sequence[UUID], currency: str) -> int:
    low, high = message_ids[0], message_ids[-1]  # an array alone prunes no partition
    log: defaultdict[UUID, list[StatusEntry]] = defaultdict(list)
    for entry in StatusEntry.objects.filter(message_id__in=message_ids, message_id__gte=low, message_id__lte=high):
        log[entry.message_id].append(entry)
    found = [
        (message, event)
        for message in Message.objects.filter(id__in=message_ids, id__gte=low, id__lte=high).order_by("id")
        for event in _events(message, log[message.id], currency)
    ]
    with connection.cursor() as cursor:
        copy_rows(
            cursor,
            OutboxEntry._meta.db_table,
            ("customer_id", "message_id", "payload"),
            ((message.customer_id, message.id, events.encode(event)) for message, event in found),
        )
    return len(found)


def _events(
    message: Message, log: Sequence[StatusEntry], currency: str
) -> list[events.MessageAccepted | events.StatusTopicEvent]:
    told: list[events.MessageAccepted | events.StatusTopicEvent] = [accepted_event(message, currency=currency)]
    for entry in sorted(log, key=lambda entry: statuses.RANK[entry.status]):
        at = int(entry.at.timestamp() * 1000)
        message_id, customer_id = ids.to_text(message.id), ids.to_text(message.customer_id)
        told.append(
            events.StatusChanged(
                message_id=message_id,
                customer_id=customer_id,
                status=entry.status,
                at=at,
                operator=entry.operator,
                operator_message_id=entry.operator_message_id,
                error=entry.error,
                attempt=entry.attempt,
                segments=message.segments,
                cost=message.cost,
            )
        )
        if entry.refund:
            told.append(events.Refunded(message_id=message_id, customer_id=customer_id, amount=entry.refund, at=at))
    return told
