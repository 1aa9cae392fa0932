"""Receipts that cannot be read, kept as dead letters by way of the outbox: those over HTTP, which are refused all the
same, and those that were replayed in vain. The latter must not count as events that settlement cannot use: enough of
these in a row would stop it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from django.db import transaction

from apps.sms import events
from apps.sms.operators.base import InvalidReceipt
from apps.sms.operators.unread_receipts import LONGEST, StillUnreadable
from apps.sms.outbox.writer import NOBODY, OutboxEvent, outbox_add
from smsgateway.errors import GatewayError
from smsgateway.metrics import RECEIPTS_UNREADABLE

_MOST_ERRORS = 5
_LONGEST_QUERY = 8000


def unread_keep(
    *, operator: str, method: str, content_type: str, query: str, body: bytes, fault: GatewayError, request_id: str
) -> None:
    """Keep what an operator sent, for the dead letters; nothing if it sent nothing. `query`: without the token."""
    if not body and not query:
        return
    event = events.ReceiptUnread(
        operator=operator,
        protocol="http",
        octets=body[:LONGEST],
        method=method,
        content_type=content_type[:200],
        query=query[:_LONGEST_QUERY],
        reason=_reason(fault),
        hint=getattr(fault, "hint", ""),
        at=time.time_ns() // 1_000_000,
    )
    with transaction.atomic():
        outbox_add([OutboxEvent(NOBODY, NOBODY, event, request_id)])
    RECEIPTS_UNREADABLE.labels(operator).inc()


def unread_keep_again(came_back: Sequence[tuple[events.ReceiptUnread, StillUnreadable]]) -> None:
    """Keep replayed receipts that still cannot be read, each with its new reason."""
    if not came_back:
        return
    kept = [
        msgspec.structs.replace(unread, reason=error.args[0], hint=error.args[1], came_back=True)
        for unread, error in came_back
    ]
    with transaction.atomic():
        outbox_add(OutboxEvent(NOBODY, NOBODY, unread) for unread in kept)
    for unread in kept:
        RECEIPTS_UNREADABLE.labels(unread.operator).inc()


def _reason(fault: GatewayError) -> str:
    """The fault in one line, with the fields that are wrong."""
    errors = fault.errors[:_MOST_ERRORS] if isinstance(fault, InvalidReceipt) else []
    named = [f"{error['field'] or 'the body'}: {error['reason']}" for error in errors]
    return "; ".join(named)[:500] or str(fault)
