"""Repairs the statistics from PostgreSQL: the events of messages go to the outbox again.

This charges, sends and refunds nothing. The event that a message was accepted goes only to `sms.accepted`, never to
delivery. Settlement reads the statuses too, recognizes each by its key (message, status) and skips it; it recognizes a
submit's ids as well. In ClickHouse a repeated event replaces its row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from apps.sms import events, statuses
from apps.sms.messages.work_orders import accepted_event
from apps.sms.models import Message, StatusEntry
from apps.sms.outbox.writer import OutboxEvent, outbox_add
from smsgateway.partitions.bounds import among

BATCH = 1000


def messages_reemit(*, message_ids: Sequence[UUID], currency: str) -> int:
    """Put every event of these messages into the outbox for the statistics; return how many events."""
    return sum(
        _reemit(sorted(message_ids[start : start + BATCH]), currency) for start in range(0, len(message_ids), BATCH)
    )


@transaction.atomic
def _reemit(message_ids: Sequence[UUID], currency: str) -> int:
    log: defaultdict[UUID, list[StatusEntry]] = defaultdict(list)
    for entry in StatusEntry.objects.filter(**among("message_id", message_ids)):
        log[entry.message_id].append(entry)
    return outbox_add(
        OutboxEvent(message.customer_id, message.id, event)
        for message in Message.objects.filter(**among("id", message_ids)).order_by("id")
        for event in _events(message, log[message.id], currency)
    )


def _events(
    message: Message, log: Sequence[StatusEntry], currency: str
) -> list[events.MessageAccepted | events.StatusTopicEvent]:
    found: list[events.MessageAccepted | events.StatusTopicEvent] = [accepted_event(message, currency=currency)]
    for entry in sorted(log, key=lambda entry: statuses.RANK[entry.status]):
        at = int(entry.at.timestamp() * 1000)
        found.append(
            events.status_changed(
                message,
                status=entry.status,
                at=at,
                operator=entry.operator,
                operator_message_id=entry.operator_message_id,
                error=entry.error,
                attempt=entry.attempt,
            )
        )
        if entry.refund:
            found.append(
                events.refunded(customer_id=message.customer_id, message_id=message.id, amount=entry.refund, at=at)
            )
    return found
