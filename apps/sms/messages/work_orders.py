"""The events that the relay publishes for a message."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from apps.sms import events, numbers
from apps.sms.models import Message
from smsgateway import ids
from smsgateway.partitions.bounds import among


def messages_of(message_ids: Sequence[UUID]) -> dict[UUID, Message]:
    """The messages that exist, by id."""
    if not message_ids:
        return {}
    return {message.id: message for message in Message.objects.filter(**among("id", message_ids))}


def delivery_event(
    message: Message,
    *,
    pace: int,
    request_id: str,
    copy: int = 0,
    attempts: int = 0,
    delays: int = 0,
    refused: tuple[str, ...] = (),
) -> events.DeliveryRequested:
    """The work order of a message.

    `copy`: the time of publishing, in milliseconds. `attempts`, `delays` and `refused`: of the tries that it had.
    """
    return events.DeliveryRequested(
        message_id=ids.to_text(message.id),
        customer_id=ids.to_text(message.customer_id),
        accepted_at=ids.milliseconds(message.id),
        expires_at=int(message.expires_at.timestamp() * 1000),
        operator=message.operator,
        to=message.recipient,
        sender=message.sender,
        text=message.text,
        encoding=message.encoding,
        segments=message.segments,
        cost=message.cost,
        segments_per_second=pace,
        request_id=request_id,
        priority=message.priority,
        attempts=attempts,
        delays=delays,
        refused=refused,
        copy=copy,
        metadata=_texts(message.metadata),
    )


def accepted_event(message: Message, *, currency: str) -> events.MessageAccepted:
    """The event that the message was accepted."""
    return events.MessageAccepted(
        message_id=ids.to_text(message.id),
        customer_id=ids.to_text(message.customer_id),
        accepted_at=ids.milliseconds(message.id),
        operator=message.operator,
        country=numbers.country(message.recipient),
        encoding=message.encoding,
        segments=message.segments,
        cost=message.cost,
        currency=currency,
        due_at=int(message.send_at.timestamp() * 1000) if message.send_at else 0,
    )


def _texts(metadata: object) -> dict[str, str]:
    """The message's metadata, which is texts by name, or nothing."""
    if not isinstance(metadata, dict):
        return {}
    return {str(name): value for name, value in metadata.items() if isinstance(value, str)}
