"""The settlement process over Kafka: status events and receipts in, status log and dead letters out."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer
from django.db import connections

from apps.sms import events
from apps.sms.models import OutboxEntry, ReceiptSweep, SubmittedPart, WaitingReceipt
from apps.sms.settlement import process as settling
from smsgateway import partitions
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.process import Process
from tests.support.customers import MakeCustomer
from tests.support.delivery import config_of_its_own, read_all, wait_until
from tests.support.receipts import accept, changed, now, status_of, submit, ulid_before

pytestmark = pytest.mark.django_db(transaction=True)


class Settling:
    """The process's loop in a thread, with topics of its own; a context manager."""

    def __init__(self) -> None:
        config = config_of_its_own()
        own = dataclasses.replace(config.kafka, topic_receipts=f"receipts-{config.kafka.consumer_group_prefix}")
        self.config: Config = dataclasses.replace(config, kafka=own)
        self.process = Process("settle")
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            settling.run(
                self.process,
                consumer=kafka.consumer(self.config.kafka, process="settle"),
                dead_letters=kafka.producer(self.config.kafka, client_id="test"),
                config=self.config,
            )
        finally:
            connections.close_all()

    def __enter__(self) -> Settling:
        self._thread.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        self.process.stop()
        self._thread.join()

    def publish(self, topic: str, *values: bytes) -> None:
        producer: Producer = kafka.producer(self.config.kafka, client_id="test")
        kafka.publish_and_wait(producer, [kafka.Record(topic, b"key", value, []) for value in values])


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


def test_the_process_makes_its_passes(make_customer: MakeCustomer) -> None:
    today = dt.datetime.now(tz=dt.UTC).date()
    partitions.create(first=today - dt.timedelta(days=5), days=6, tables=["sms_submittedpart"])
    ReceiptSweep.objects.update(position=UUID(int=0))
    [message_id] = accept(make_customer())
    submit(message_id, "1")
    SubmittedPart.objects.update(submission_id=ulid_before(hours=100))
    assert status_of(message_id) == "submitted"
    with Settling():
        wait_until(lambda: published(message_id))
