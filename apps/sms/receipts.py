"""Operators' delivery receipts: checked, matched to their message, and in the outbox before they are acknowledged."""

from __future__ import annotations

import hmac

from apps.sms import events
from apps.sms.models import OutboxEntry
from apps.sms.operators import registry
from apps.sms.operators.base import InvalidReceipt
from apps.sms.selectors import message_get
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.errors import Unauthorized


def authorize(*, operator: str, authorization: str, config: Config) -> None:
    """Raises OperatorNotFound, or Unauthorized if the header does not carry the operator's receipt token."""
    token = registry.operator_settings(config, operator).receipt_token
    if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        raise Unauthorized(f"Send the receipt token of {operator} as Authorization: Bearer.")


def receipt_record(*, operator: str, body: bytes, config: Config, request_id: str = "") -> None:
    """Record a receipt. Raises InvalidReceipt or MessageNotFound."""
    receipt = registry.build(config)[operator].parse_receipt(body)
    if receipt is None:
        return
    if receipt.reference is None:
        raise InvalidReceipt("The operator sent a receipt that bears no reference of ours.", errors=[])
    message = message_get(message_id=receipt.reference)
    event = events.StatusChanged(
        message_id=ids.to_text(message.id),
        customer_id=ids.to_text(message.customer_id),
        status=receipt.status,
        at=receipt.at,
        operator=operator,
        operator_message_id=receipt.operator_message_id,
        error=receipt.error,
        segments=message.segments,
        cost=message.cost,
    )
    OutboxEntry.objects.create(
        customer_id=message.customer_id,
        message_id=message.id,
        payload=events.encode(event),
        request_id=request_id,
    )
