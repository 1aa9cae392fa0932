"""Messages that were submitted, and what operators say of them."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any
from uuid import UUID

from django.conf import settings

from apps.balance.models import Account
from apps.sms import events
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.messages.selectors import current_status
from apps.sms.models import OutboxEntry, StatusEntry
from apps.sms.operators.base import Receipt
from apps.sms.receipts.matching import Outcome, Received, receipts_record
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids

DRAFT = Draft("+989121234567", "", "hello", "gsm7", 1, 100, 1_900_000_000_000)


def now() -> int:
    return time.time_ns() // 1_000_000


def accept(customer_id: UUID, count: int = 1) -> list[UUID]:
    return messages_accept(customer_id=customer_id, drafts=[DRAFT] * count, config=settings.CONFIG).message_ids


def changed(message_id: UUID, status: str = "submitted", *given: str, **fields: Any) -> events.StatusChanged:
    """The event that a message reached a status; `given`: the operator's ids of its parts."""
    told: dict[str, Any] = {
        "message_id": ids.to_text(message_id),
        "customer_id": ids.to_text(message_id),
        "status": status,
        "at": now(),
        "operator": "mci",
        "operator_message_id": given[0] if given else "",
        "part_ids": given[1:],
    }
    return events.StatusChanged(**told | fields)


def submit(message_id: UUID, *given: str, **fields: Any) -> None:
    """The message's submit is recorded."""
    statuses_settle(batch=[changed(message_id, "submitted", *given, **fields)])


def said(given: str, status: str = "delivered", *, operator: str = "mci", **fields: Any) -> Received:
    """A receipt with the operator's id alone."""
    told: dict[str, Any] = {"reference": None, "operator_message_id": given, "status": status, "error": "", "at": now()}
    return Received(operator, Receipt(**told | fields))


def receive(*received: Received) -> list[Outcome]:
    """Receipts come, and what they mean is settled."""
    outcomes = receipts_record(batch=received)
    settle_outbox()
    return outcomes


def settle_outbox() -> int:
    """Settle the status events of the outbox as if they had gone over Kafka; return how many there were."""
    rows = list(OutboxEntry.objects.filter(payload__isnull=False).order_by("id"))
    OutboxEntry.objects.filter(id__in=[row.id for row in rows]).delete()
    payloads = [bytes(row.payload or b"") for row in rows]
    told = [events.decode_status(payload) for payload in payloads if not events.is_unread_receipt(payload)]
    statuses_settle(batch=[event for event in told if isinstance(event, events.StatusChanged)])
    return len(rows)


def status_of(message_id: UUID) -> str:
    recorded = StatusEntry.objects.filter(message_id=message_id).values_list("status", flat=True)
    return current_status(["accepted", *recorded])


def balance(customer_id: UUID) -> int:
    return Account.objects.get(customer_id=customer_id).balance


def ulid_before(**ago: float) -> UUID:
    """A new id as it would have been made some time ago."""
    past = int((dt.datetime.now(tz=dt.UTC) - dt.timedelta(**ago)).timestamp() * 1000)
    return UUID(int=(past << 80) | (ids.new_id().int & (2**80 - 1)))
