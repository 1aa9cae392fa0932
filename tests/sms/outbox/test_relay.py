"""The outbox becomes events."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from uuid import UUID

import pytest
from confluent_kafka import Message as KafkaMessage
from django.conf import settings

from apps.sms import events
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.models import Message, OutboxEntry
from apps.sms.outbox import relay
from apps.sms.shards import Shard
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from tests.support.customers import MakeCustomer

DRAFT = Draft("+989351234567", "Shop", "سلام", "ucs2", 1, 100, 1_900_000_000_000, "ref")


@pytest.fixture
def config() -> Config:
    """Topics of this test's own."""
    suffix = ids.to_text(ids.new_id())
    own = dataclasses.replace(
        settings.CONFIG.kafka,
        topic_accepted=f"accepted-{suffix}",
        topic_delivery=f"delivery-{suffix}",
        topic_status=f"status-{suffix}",
        topic_dead_letter=f"dead-{suffix}",
        consumer_group_prefix=suffix,
    )
    return dataclasses.replace(settings.CONFIG, kafka=own)


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> Iterator[UUID]:
    OutboxEntry.objects.all().delete()
    return make_customer(pace=7)


def read(config: Config, topic: str, count: int) -> list[KafkaMessage]:
    """The first `count` events of a topic."""
    consumer = kafka.consumer(config.kafka, process=f"reader-{topic}")
    consumer.subscribe([topic])
    found: list[KafkaMessage] = []
    deadline = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        found += [message for message in consumer.consume(count, 0.2) if message.error() is None]
    consumer.close()
    assert len(found) == count
    return found


def test_an_accepted_message_becomes_a_fact_and_a_work_order(config: Config, customer_id: UUID) -> None:
    accepted = messages_accept(customer_id=customer_id, drafts=[DRAFT], config=config, request_id="req-1")
    producer = kafka.producer(config.kafka, client_id="test")
    assert relay.relay_round(producer=producer, config=config) == 1
    assert not OutboxEntry.objects.exists()

    [work] = read(config, config.kafka.topic_delivery, 1)
    delivery = events.decode_delivery(work.value() or b"")
    message = Message.objects.get(id=accepted.message_ids[0])
    assert work.key() == ids.to_text(customer_id).encode()
    assert ("request_id", b"req-1") in (work.headers() or [])
    assert delivery == events.DeliveryRequested(
        message_id=ids.to_text(message.id),
        customer_id=ids.to_text(customer_id),
        accepted_at=ids.milliseconds(message.id),
        expires_at=int(message.expires_at.timestamp() * 1000),
        operator="irancell",
        to="+989351234567",
        sender="Shop",
        text="سلام",
        encoding="ucs2",
        segments=1,
        cost=100,
        segments_per_second=7,
        request_id="req-1",
        copy=delivery.copy,
    )
    [fact] = read(config, config.kafka.topic_accepted, 1)
    assert "سلام".encode() not in (fact.value() or b"")
    assert b"9351234567" not in (fact.value() or b"")
    assert events.decode_accepted(fact.value() or b"").country == "IR"


def test_rows_stay_when_kafka_does_not_confirm(config: Config, customer_id: UUID) -> None:
    messages_accept(customer_id=customer_id, drafts=[DRAFT] * 3, config=config)
    away = dataclasses.replace(config.kafka, brokers=["127.0.0.1:1"], producer_timeout=1000)
    producer = kafka.producer(away, client_id="test")
    with pytest.raises(kafka.KafkaUnavailable):
        relay.relay_round(producer=producer, config=config)
    assert OutboxEntry.objects.count() == 3


def test_a_status_event_goes_to_the_status_topic_as_it_is(config: Config, customer_id: UUID) -> None:
    OutboxEntry.objects.create(customer_id=customer_id, message_id=ids.new_id(), payload=b'{"type": "x"}')
    producer = kafka.producer(config.kafka, client_id="test")
    assert relay.relay_round(producer=producer, config=config) == 1
    [event] = read(config, config.kafka.topic_status, 1)
    assert event.value() == b'{"type": "x"}'


def test_shards_share_the_customers_and_keep_one_customer_together(config: Config, make_customer: MakeCustomer) -> None:
    OutboxEntry.objects.all().delete()
    customers = [make_customer() for _ in range(12)]
    for _ in range(2):
        for customer_id in customers:
            messages_accept(customer_id=customer_id, drafts=[DRAFT], config=config)
    producer = kafka.producer(config.kafka, client_id="test")
    count = relay.relay_round(producer=producer, config=config, shard=Shard(0, 2))
    left = set(OutboxEntry.objects.values_list("customer_id", flat=True))
    assert count == 24 - 2 * len(left)
    assert all(customer_id.int % 2 == 1 for customer_id in left)
    relay.relay_round(producer=producer, config=config, shard=Shard(1, 2))
    assert not OutboxEntry.objects.exists()


def test_the_messages_of_a_round_are_read_from_their_partitions_only(config: Config, customer_id: UUID) -> None:
    accepted = messages_accept(customer_id=customer_id, drafts=[DRAFT] * 2, config=config)
    found = Message.objects.filter(
        id__in=accepted.message_ids, id__gte=min(accepted.message_ids), id__lte=max(accepted.message_ids)
    )
    plan = found.explain()
    assert plan.count(" Scan ") == 1, plan


def test_a_row_without_its_message_becomes_a_dead_letter_and_holds_up_nobody(config: Config, customer_id: UUID) -> None:
    lost = ids.new_id()
    OutboxEntry.objects.create(customer_id=customer_id, message_id=lost)
    accepted = messages_accept(customer_id=customer_id, drafts=[DRAFT], config=config)
    producer = kafka.producer(config.kafka, client_id="test")
    assert relay.relay_round(producer=producer, config=config) == 2
    [letter] = read(config, config.kafka.topic_dead_letter, 1)
    assert ("message_id", ids.to_text(lost).encode()) in (letter.headers() or [])
    [work] = read(config, config.kafka.topic_delivery, 1)
    assert events.decode_delivery(work.value() or b"").message_id == ids.to_text(accepted.message_ids[0])
