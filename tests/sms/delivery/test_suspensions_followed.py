"""A suspension goes from PostgreSQL over Kafka to the workers, as routes do."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer
from django.db import connection

from apps.customers.models import Customer
from apps.customers.services import customer_status_set
from apps.sms.suspension.follower import SuspensionsReader
from apps.sms.suspension.publisher import SuspensionsPublisher
from apps.sms.tables import publisher as table_publisher
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from tests.support.customers import MakeCustomer
from tests.support.delivery import WAIT_SECONDS, config_of_its_own, wait_until


@pytest.fixture
def config() -> Config:
    return config_of_its_own()


@pytest.fixture
def producer(config: Config) -> Producer:
    return kafka.producer(config.kafka, client_id="test")


@pytest.fixture
def publisher(db: None, producer: Producer, config: Config) -> SuspensionsPublisher:
    minutes = itertools.count(step=60.0)
    return SuspensionsPublisher(producer, config=config, clock=lambda: next(minutes))


@contextmanager
def reading(config: Config, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[SuspensionsReader]:
    reader = SuspensionsReader(config, wait_seconds=wait_seconds)
    asyncio.run(reader.start())
    try:
        yield reader
    finally:
        asyncio.run(reader.close())


def test_a_suspension_and_its_end_reach_a_running_reader(
    make_customer: MakeCustomer, publisher: SuspensionsPublisher, producer: Producer, config: Config
) -> None:
    customer_id, other = make_customer(), make_customer()
    customer_status_set(customer_id=other, status=Customer.Status.SUSPENDED)
    publisher.tick()
    assert producer.flush(WAIT_SECONDS) == 0
    with reading(config) as reader:
        assert reader.customers == {ids.to_text(other)}
        for status, expected in (("suspended", {customer_id, other}), ("active", {other})):
            customer_status_set(customer_id=customer_id, status=status)
            publisher.tick()
            producer.flush(WAIT_SECONDS)
            wanted = {ids.to_text(one) for one in expected}
            wait_until(lambda: reader.customers == wanted)  # noqa: B023


@pytest.mark.parametrize("statement", ["UPDATE customers_customer SET status = 'suspended'",
                                       "DELETE FROM customers_customer WHERE status = 'suspended'"])  # fmt: skip
def test_the_version_grows_whoever_changes_a_status(publisher: SuspensionsPublisher, statement: str) -> None:
    Customer.objects.create(name="x", status="suspended" if "DELETE" in statement else "active")
    before = publisher.version()
    Customer.objects.create(name="active")
    Customer.objects.update(name="another")
    assert publisher.version() == before
    with connection.cursor() as cursor:
        cursor.execute(statement)
    assert publisher.version() > before


def test_many_suspended_customers_go_out_in_parts(
    publisher: SuspensionsPublisher, producer: Producer, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_publisher, "PART_BYTES", 300)
    Customer.objects.bulk_create(Customer(name=str(number), status="suspended") for number in range(45))
    snapshot = publisher.snapshot()
    assert (snapshot.rows, len(snapshot.records)) == (45, 5)
    assert max(len(value) for _, value in snapshot.records) < 500
    publisher.tick()
    assert producer.flush(WAIT_SECONDS) == 0
    with reading(config) as reader:
        wait_until(lambda: len(reader.customers) == 45)
        Customer.objects.update(status="active")
        publisher.tick()
        producer.flush(WAIT_SECONDS)
        wait_until(lambda: not reader.customers)


def test_nothing_is_sent_before_kafka_has_answered(config: Config) -> None:
    """A worker that did not know who is suspended would send for them."""
    away = dataclasses.replace(config, kafka=dataclasses.replace(config.kafka, brokers=["127.0.0.1:1"]))
    stop, started = threading.Event(), threading.Event()
    reader = SuspensionsReader(away, wait_seconds=0.1)

    def start() -> None:
        asyncio.run(reader.start(until=stop))
        started.set()

    thread = threading.Thread(target=start)
    thread.start()
    try:
        assert not started.wait(1.5)
    finally:
        stop.set()
        thread.join(WAIT_SECONDS)
        asyncio.run(reader.close())
    assert started.is_set()


def test_the_relay_publishes_them(
    make_customer: MakeCustomer, config: Config, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.sms.outbox import relay
    from smsgateway.process import Process

    customer_id = make_customer()
    customer_status_set(customer_id=customer_id, status="suspended")
    process = Process("relay")
    with reading(config, wait_seconds=0.1) as reader:

        def stop_when_read(**_options: object) -> int:
            if reader.customers:
                process.stop()
            return 0

        monkeypatch.setattr(relay, "relay_round", stop_when_read)
        relay.run(process, producer=producer, config=config)
        assert reader.customers == {ids.to_text(customer_id)}
