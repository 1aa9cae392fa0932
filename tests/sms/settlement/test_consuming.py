"""The settlement process: no event holds up the others."""

from __future__ import annotations

from typing import Any, cast

from confluent_kafka import Message
from django.conf import settings

from apps.sms import events
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.models import StatusEntry, WaitingReceipt
from apps.sms.settlement import process as settling
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.kafka_topics import Read

DRAFT = Draft("+989121234567", "", "hello", "gsm7", 1, 100, 1_900_000_000_000)


def write(*bodies: bytes) -> dict[bytes, str]:
    unusable = settling.write(cast(list[Message], [Read(body) for body in bodies]))
    return {cast(Any, message).body: reason for message, reason in unusable}


def receipt(given: str, **change: str) -> bytes:
    fields: dict[str, Any] = {"operator": "mci", "operator_message_id": given, "status": "delivered", "at": 10**12}
    return events.encode(events.ReceiptReceived(**fields | change))


def test_unusable_events_are_told_with_their_reason_and_the_others_are_settled(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    message_ids = messages_accept(customer_id=customer_id, drafts=[DRAFT] * 8, config=settings.CONFIG).message_ids

    def status(number: int, **change: object) -> bytes:
        fields: dict[str, Any] = {
            "message_id": ids.to_text(message_ids[number]),
            "customer_id": ids.to_text(customer_id),
            "status": "delivered",
            "at": 1_800_000_000_000,
            "operator": "mci",
        }
        return events.encode(events.StatusChanged(**fields | change))

    good = [status(number) for number in range(3)]
    refund = events.encode(
        events.Refunded(message_id=ids.to_text(message_ids[0]), customer_id="x", amount=1, at=1_800_000_000_000)
    )
    bad = {
        b"\xff": "unreadable",
        b"[" * 100_000: "unreadable",
        b'{"type":"novel"}': "unreadable",
        status(3, message_id="42"): "unreadable",
        status(3, status="teleported"): "unknown status",
        status(3, message_id=ids.to_text(ids.new_id())): "unknown message",
        status(4, error="a\x00b"): "cannot be stored",
        status(5, at=10**18): "unreadable",
        status(6, attempt=10**6): "unreadable",
    }
    received = [receipt(f"{number}") for number in range(2)]
    bad |= {
        receipt("1", status="teleported"): "unknown status",
        receipt("1", reference="42"): "unreadable",
        receipt("1", reference=ids.to_text(ids.new_id())): "unknown message",
        receipt("a\x00b"): "cannot be stored",
        receipt(""): "unreadable",
    }
    unusable = write(*good[:2], received[0], refund, *bad, good[2], received[1])
    assert {body: reason.split(":")[0] for body, reason in unusable.items()} == bad
    recorded = StatusEntry.objects.filter(message_id__in=message_ids).values_list("message_id", flat=True)
    assert sorted(recorded) == sorted(message_ids[:3])
    assert sorted(row.operator_message_id for row in WaitingReceipt.objects.all()) == ["0", "1"]
