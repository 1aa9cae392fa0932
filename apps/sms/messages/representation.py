"""A message as the API and callbacks show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.sms.messages.selectors import current_status
from apps.sms.models import Message
from smsgateway import ids


def message_summary(message: Message, *, status: str, refunded: int) -> dict[str, Any]:
    """The message as lists show it: without its history."""
    return {
        "id": ids.to_text(message.id),
        "customer_id": ids.to_text(message.customer_id),
        "status": status,
        "accepted_at": ids.moment(message.id),
        "to": message.recipient,
        "from": message.sender,
        "text": message.text,
        "encoding": message.encoding,
        "segments": message.segments,
        "cost": message.cost,
        "refunded": refunded,
        "operator": message.operator,
        "priority": message.priority,
        "reference": message.reference,
        "send_at": message.send_at,
        "expires_at": message.expires_at,
        "callback_url": message.callback_url,
        "metadata": message.metadata or {},
    }


def message_detail(message: Message, *, history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The message with its history (see `selectors.message_history`), as `GET /v1/sms/{id}` shows it."""
    status = current_status(entry["status"] for entry in history)
    refunded = sum(entry.get("refunded", 0) for entry in history)
    return message_summary(message, status=status, refunded=refunded) | {"history": history}
