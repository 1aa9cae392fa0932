"""The settlement process over Kafka: status events and receipts in, status log and dead letters out."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import pytest

from apps.sms import events
from apps.sms.models import OutboxEntry, ReceiptSweep, SubmittedPart, WaitingReceipt
from smsgateway import partitions
from tests.support.customers import MakeCustomer
from tests.support.delivery import read_all, wait_until
from tests.support.receipts import accept, changed, now, status_of, submit, ulid_before
from tests.support.settling import Settling

pytestmark = pytest.mark.django_db(transaction=True)


def receipt(given: str, status: str = "delivered") -> bytes:
    return events.encode(events.ReceiptReceived(operator="mci", operator_message_id=given, status=status, at=now()))


def published(message_id: UUID) -> bool:
    return OutboxEntry.objects.filter(message_id=message_id, payload__isnull=False).exists()


def test_receipts_from_kafka_are_matched_and_poison_goes_to_the_dead_letters(make_customer: MakeCustomer) -> None:
    first, second = accept(make_customer(), 2)
    with Settling() as settle:
        topics = settle.config.kafka
        settle.publish(topics.topic_receipts, receipt("1"), b"poison", receipt("2"), receipt("2", "teleported"))
        wait_until(lambda: WaitingReceipt.objects.count() == 2)
        submits = [changed(first, "submitted", "1"), changed(second, "submitted", "2")]
        settle.publish(topics.topic_status, *map(events.encode, submits))
        wait_until(lambda: published(first) and published(second))
        assert not WaitingReceipt.objects.exists()
    letters = read_all(settle.config, topics.topic_dead_letter)
    reasons = sorted(dict(letter.headers() or [])["reason"].partition(b":")[0] for letter in letters)
    assert reasons == [b"unknown status", b"unreadable"]


def test_the_process_handles_missing_receipts(make_customer: MakeCustomer) -> None:
    today = dt.datetime.now(tz=dt.UTC).date()
    partitions.create(first=today - dt.timedelta(days=5), days=6, tables=["sms_submittedpart"])
    ReceiptSweep.objects.update(position=UUID(int=0))
    [message_id] = accept(make_customer())
    submit(message_id, "1")
    SubmittedPart.objects.update(submission_id=ulid_before(hours=100))
    assert status_of(message_id) == "submitted"
    with Settling():
        wait_until(lambda: published(message_id))
