"""The bridge over Kafka's real protocol into ClickHouse's real protocol."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from confluent_kafka import Message
from django.conf import settings
from prometheus_client import REGISTRY

from apps.reporting.ingest import process as bridge
from apps.reporting.ingest import rows
from apps.reporting.queries import stats as selectors
from apps.sms import events
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse, ClickHouseError, ClickHouseUnavailable
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.process import Process
from tests.support.events import MORNING, accepted, message_id, refund, status
from tests.support.ingest import committed, publish, wait_until
from tests.support.statistics import nonzero_totals, stats_of


class WatchedClickHouse(ClickHouse):
    """Counts the rows it has inserted, and can be away or crash its caller on demand."""

    def __init__(self) -> None:
        super().__init__(settings.CONFIG.clickhouse)
        self.inserted = 0
        self.refused = 0
        self.away = threading.Event()
        # A server that is down, then one that is up before its tables are there.
        self._refusals = itertools.cycle([ClickHouseUnavailable("no answer"), ClickHouseError("no table")])
        self.crash_after_insert = False
        self.no_statistics = threading.Event()
        self.refused_statistics = 0

    def insert_select(self, sql: str, parameters: Any = None) -> None:
        if self.no_statistics.is_set():
            self.refused_statistics += 1
            raise ClickHouseUnavailable("too slow")
        super().insert_select(sql, parameters)

    def insert(self, sql: str, columns: Any) -> None:
        if self.away.is_set():
            self.refused += 1
            raise next(self._refusals)
        super().insert(sql, columns)
        self.inserted += len(columns[0])
        if self.crash_after_insert:
            raise Crash


class Crash(BaseException):
    """The process dies here: nothing between catches it."""


@pytest.fixture
def watched(database: ClickHouse) -> Iterator[WatchedClickHouse]:
    watched = WatchedClickHouse()
    yield watched
    watched.close()


@contextlib.contextmanager
def running_bridge(config: Kafka, database: ClickHouse) -> Iterator[threading.Thread]:
    """The bridge in a thread; stopped at the end as SIGTERM stops it."""
    process = Process("ingest")

    def run() -> None:
        with contextlib.suppress(Crash):
            bridge.run(process, config=config, database=database)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        process.stop()
        thread.join()


def dead_letters(config: Kafka, *, count: int) -> dict[bytes, dict[str, bytes]]:
    """The headers of the first `count` dead letters by their values."""
    client = kafka.consumer(config, process="reader")
    client.subscribe([config.topic_dead_letter])
    found: list[Message] = []
    try:
        while len(found) < count:
            found += [message for message in client.consume(count - len(found), 1.0) if not message.error()]
    finally:
        client.close()
    return {message.value(): dict(message.headers()) for message in found}


def traffic(customer: UUID, count: int) -> list[rows.ReportedEvent]:
    """`count` messages in one minute, all submitted; every fifth failed and refunded, the others delivered."""
    made: list[rows.ReportedEvent] = []
    for number in range(count):
        message = message_id(MORNING)
        made += [accepted(customer, message), status(customer, message, "submitted")]
        if number % 5 == 0:
            made += [status(customer, message, "failed"), refund(customer, message)]
        else:
            made += [status(customer, message, "delivered")]
    return made


EXPECTED_OF_100 = {
    "accepted": 100,
    "segments": 200,
    "cost": 20_000,
    "delivered": 80,
    "failed": 20,
    "refunded": 4_000,
}


def test_events_of_both_topics_reach_the_statistics_and_are_committed(
    config: Kafka, watched: WatchedClickHouse, customer: UUID
) -> None:
    made = traffic(customer, 100)
    with running_bridge(config, watched):
        publish(config, *made)
        wait_until(lambda: committed(config) == len(made))

    assert nonzero_totals(stats_of(watched, customer)) == EXPECTED_OF_100


def test_reading_the_topics_again_from_the_start_changes_no_number(
    config: Kafka, watched: WatchedClickHouse, customer: UUID
) -> None:
    made = traffic(customer, 100)
    publish(config, *made)
    with running_bridge(config, watched):
        wait_until(lambda: watched.inserted == len(made))
    minutes, days = stats_of(watched, customer), stats_of(watched, customer, interval=selectors.DAY)

    from_the_start = dataclasses.replace(config, consumer_group_prefix=f"{config.consumer_group_prefix}.again")
    with running_bridge(from_the_start, watched):
        wait_until(lambda: watched.inserted == 2 * len(made))

    assert nonzero_totals(minutes) == nonzero_totals(days) == EXPECTED_OF_100
    assert stats_of(watched, customer) == minutes
    assert stats_of(watched, customer, interval=selectors.DAY) == days


def test_a_crash_between_insert_and_commit_changes_no_number(
    config: Kafka, watched: WatchedClickHouse, customer: UUID
) -> None:
    made = traffic(customer, 100)
    publish(config, *made)
    watched.crash_after_insert = True
    with running_bridge(config, watched) as thread:
        thread.join()
    in_vain = watched.inserted
    assert in_vain > 0
    assert committed(config) == 0

    watched.crash_after_insert = False
    with running_bridge(config, watched):
        wait_until(lambda: watched.inserted == in_vain + len(made))

    assert nonzero_totals(stats_of(watched, customer)) == EXPECTED_OF_100


def test_nothing_is_lost_or_committed_while_clickhouse_is_down(
    config: Kafka, watched: WatchedClickHouse, customer: UUID
) -> None:
    made = traffic(customer, 100)
    watched.away.set()
    with running_bridge(config, watched):
        publish(config, *made[:200])
        wait_until(lambda: watched.refused >= 2)
        publish(config, *made[200:])
        wait_until(lambda: watched.refused >= 3)
        assert committed(config) == 0
        watched.away.clear()
        wait_until(lambda: committed(config) == len(made))

    assert nonzero_totals(stats_of(watched, customer)) == EXPECTED_OF_100


def test_nothing_is_committed_before_its_statistics_are_computed(
    config: Kafka, watched: WatchedClickHouse, customer: UUID
) -> None:
    made = traffic(customer, 100)
    watched.no_statistics.set()
    with running_bridge(config, watched):
        publish(config, *made)
        wait_until(lambda: watched.inserted == len(made) and watched.refused_statistics >= 2)
        assert committed(config) == 0
        watched.no_statistics.clear()
        wait_until(lambda: committed(config) == len(made))
        assert nonzero_totals(stats_of(watched, customer)) == EXPECTED_OF_100
        assert nonzero_totals(stats_of(watched, customer, interval=selectors.DAY)) == EXPECTED_OF_100


def test_a_batch_of_unreadable_events_is_committed_too(config: Kafka, watched: WatchedClickHouse) -> None:
    with running_bridge(config, watched):
        publish(config, (config.topic_status, b"no json"))
        wait_until(lambda: committed(config) == 1)


def test_lag_and_freshness_are_metrics(config: Kafka, watched: WatchedClickHouse, customer: UUID) -> None:
    def metric(name: str) -> float | None:
        return REGISTRY.get_sample_value(name)

    made = [accepted(customer, message_id()) for _ in range(10)]
    publish(config, *made)
    consumer = kafka.consumer(config, process="lag")
    consumer.subscribe([config.topic_accepted])
    read: list[Message] = []
    try:
        while len(read) < 4:
            read += [message for message in consumer.consume(4 - len(read), 1.0) if not message.error()]
        lag = bridge.Lag(consumer)
        lag.measure()
        assert metric("ingest_lag_events_all") == lag.total == 6
    finally:
        consumer.close()

    with running_bridge(config, watched):
        wait_until(
            lambda: metric("ingest_newest_event_timestamp_seconds") == max(each.accepted_at for each in made) / 1000
        )
        age = time.time() - max(each.accepted_at for each in made) / 1000
        assert (metric("ingest_freshness_seconds") or 0) == pytest.approx(age, abs=60)


def test_a_stop_while_clickhouse_is_down_leaves_the_batch_to_the_next_start(
    config: Kafka, watched: WatchedClickHouse, customer: UUID
) -> None:
    made = traffic(customer, 100)
    publish(config, *made)
    watched.away.set()
    with running_bridge(config, watched):
        wait_until(lambda: watched.refused)
    assert committed(config) == 0

    watched.away.clear()
    with running_bridge(config, watched):
        wait_until(lambda: watched.inserted == len(made))

    assert nonzero_totals(stats_of(watched, customer)) == EXPECTED_OF_100


def test_two_copies_share_the_partitions_and_the_numbers_are_right(config: Kafka, watched: WatchedClickHouse) -> None:
    customers = [ids.new_id() for _ in range(8)]
    made = [event for customer in customers for event in traffic(customer, 100)]
    with running_bridge(config, watched):
        publish(config, *made[:1000])
        with running_bridge(config, watched):
            publish(config, *made[1000:])
            wait_until(lambda: committed(config) == len(made))

    for customer in customers:
        assert nonzero_totals(stats_of(watched, customer)) == EXPECTED_OF_100


def test_unreadable_events_go_to_the_dead_letters_and_block_nothing(
    config: Kafka, watched: WatchedClickHouse, customer: UUID
) -> None:
    message = message_id()
    good = accepted(customer, message)
    unreadable = {
        b"": "truncated",
        b"no json": "malformed",
        b'{"type":"accepted","v":1}': "missing required field",
        b'{"type":"accepted","country":"\xff"}': "utf-8",
        b'{"type":"accepted","later":' + b"[" * 5000 + b"]" * 5000 + b"}": "recursion",
        events.encode(msgspec.structs.replace(good, segments=70_000)): "<= 255",
        events.encode(msgspec.structs.replace(good, cost=-1)): "cost is -1",
        events.encode(msgspec.structs.replace(good, customer_id="me")): "ULID",
        events.encode(msgspec.structs.replace(good, message_id="7" + "Z" * 25)): "message_id",
    }
    unknown_status = events.encode(status(customer, message, "teleported"))
    with running_bridge(config, watched):
        publish(config, *((config.topic_accepted, value) for value in unreadable))
        publish(config, (config.topic_status, unknown_status))
        publish(config, good, status(customer, message, "delivered"))
        wait_until(lambda: committed(config) == len(unreadable) + 3)

    assert nonzero_totals(stats_of(watched, customer)) == {"accepted": 1, "segments": 2, "cost": 200, "delivered": 1}
    letters = dead_letters(config, count=len(unreadable) + 1)
    assert letters.keys() == unreadable.keys() | {unknown_status}
    for value, reason in unreadable.items():
        assert reason.lower() in letters[value]["reason"].decode().lower()
        assert letters[value]["source_topic"] == config.topic_accepted.encode()
    assert b"teleported" in letters[unknown_status]["reason"]
    assert letters[unknown_status]["source_topic"] == config.topic_status.encode()


def test_the_process_ends_cleanly_on_sigterm(config: Kafka, database: ClickHouse, customer: UUID) -> None:
    made = traffic(customer, 100)
    publish(config, *made)
    environment = os.environ | {
        "KAFKA_TOPIC_ACCEPTED": config.topic_accepted,
        "KAFKA_TOPIC_STATUS": config.topic_status,
        "KAFKA_CONSUMER_GROUP_PREFIX": config.consumer_group_prefix,
        "LOG_LEVEL": "info",
    }
    command = [sys.executable, "manage.py", "ingest"]
    with subprocess.Popen(
        command, cwd=settings.BASE_DIR, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or committed(config) == len(made))
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate()
        finally:
            process.kill()

    assert process.returncode == 0, log
    assert "process_stopped" in log
    assert nonzero_totals(stats_of(database, customer)) == EXPECTED_OF_100
