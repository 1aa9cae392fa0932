"""Partitions change hands on Apache Kafka itself: nothing is left behind, and nothing goes out twice."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported all the same

from apps.devservices import kafka_apache, stack
from apps.sms import events
from apps.sms.operators.base import TransientSubmitError
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from tests.support.backlogs import assert_each_once_in_order, backlog_of, overflowed, together
from tests.support.consumers import partitions_come_back
from tests.support.delivery import (
    PARTITIONS,
    RunningWorker,
    ScriptedOperator,
    Work,
    assert_each_once,
    config_of_its_own,
    produce,
    read_statuses,
    requested,
    wait_until,
)
from tests.support.worker_processes import CountingOperator, worker

pytestmark = [pytest.mark.apache_kafka, pytest.mark.timeout(1800)]

ONLY_KAFKA = {"DATABASE_URL": "postgres://elsewhere/x", "CLICKHOUSE_URL": "clickhouse://elsewhere/x"}
RESTARTS = 10
BACKLOG = 20_000
CUSTOMERS = 8
PACE = 12  # segments a second of each: the backlog outlasts the restarts


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    if (reason := kafka_apache.apache_kafka_unavailable()) and os.environ.get("REQUIRE_APACHE_KAFKA") != "1":
        pytest.skip(reason)
    directory: Path = tmp_path_factory.mktemp("apache")
    addresses = stack.up(directory, kafka="apache", environ=ONLY_KAFKA, bound_to_pid=os.getpid())
    yield addresses["KAFKA_BROKERS"].split(",")
    stack.down(directory)


def prepare(config: Config) -> None:
    """Make the topics, as production does, and publish an empty routing table: workers start at once."""
    client = AdminClient({"bootstrap.servers": ",".join(config.kafka.brokers)})
    topics = [NewTopic(topic, PARTITIONS, 1) for topic in (*config.kafka.delivery_topics, config.kafka.topic_status)]
    known = client.list_topics().topics  # all tests have the same topic of routes
    topics += [NewTopic(topic, 1, 1) for topic in {config.kafka.topic_routes} - known.keys()]
    for made in client.create_topics(topics).values():
        made.result()
    table = events.encode(events.RoutesPublished(version=1, routes=()))
    producer = kafka.producer(config.kafka, client_id="test")
    kafka.publish_and_wait(producer, [kafka.Record(config.kafka.topic_routes, b"routes", table, [])])


def on(brokers: list[str], config: Config) -> Config:
    return dataclasses.replace(config, kafka=dataclasses.replace(config.kafka, brokers=brokers))


def test_ten_restarts_of_one_of_two_workers_under_a_backlog_leave_nothing_behind(brokers: list[str]) -> None:
    config = on(brokers, config_of_its_own(queue_size=5))
    sent = [
        requested(operator="mci", customer_id=f"C{number}", segments_per_second=PACE)
        for _ in range(BACKLOG // CUSTOMERS)
        for number in range(CUSTOMERS)
    ]
    prepare(config)
    produce(config, [(int(message.customer_id[1:]) % PARTITIONS, message) for message in sent])
    steady, restarted = CountingOperator(), CountingOperator()
    with steady.listening() as url, restarted.listening() as other:
        stays = worker(config, url)
        comes_and_goes = worker(config, other)
        try:
            for restart in range(RESTARTS + 1):
                before = len(restarted.taken)
                wait_until(lambda before=before: len(restarted.taken) >= before + 50)  # type: ignore[misc]
                comes_and_goes.terminate()
                assert comes_and_goes.wait(60) == 0
                # In the end the other one alone has every partition, some of which it gave away while they were paused.
                if restart < RESTARTS:
                    comes_and_goes = worker(config, other)
            assert len(steady.taken) + len(restarted.taken) < BACKLOG, "the backlog ended before the restarts did"
            done = 0
            while (taken := len(steady.taken) + len(restarted.taken)) < BACKLOG:
                wait_until(lambda: len(steady.taken) + len(restarted.taken) > done)  # noqa: B023
                done = taken
            stays.terminate()
            assert stays.wait(60) == 0
        finally:
            for process in (stays, comes_and_goes):
                process.kill()
                process.wait()
    taken_by_id = steady.taken + restarted.taken
    assert set(taken_by_id) == {message.message_id for message in sent}
    assert taken_by_id.total() == BACKLOG, "some went out twice"
    assert {event.message_id for event in read_statuses(config)} == set(taken_by_id)


def test_a_worker_that_joins_takes_partitions_over_without_loss_or_repeat(brokers: list[str]) -> None:
    config = on(brokers, config_of_its_own(retry_base=0.05, retry_cap=0.2))
    prepare(config)
    work: Work = []

    def add_work(count: int) -> None:
        added: Work = [
            (
                number % PARTITIONS,
                requested(
                    customer_id=str(number % 12),
                    segments_per_second=8,
                    text="refused at first" if number % 5 == 0 else "taken at once",
                ),
            )
            for number in range(count)
        ]
        produce(config, added)
        work.extend(added)

    class Flaky(ScriptedOperator):
        """Takes its time, and some messages wait for a retry whenever partitions go."""

        def __init__(self) -> None:
            super().__init__(self._submit)

        async def _submit(self, message: events.DeliveryRequested) -> str:
            await asyncio.sleep(0.05)
            if message.text == "refused at first" and self.submits[message.message_id] == 1:
                raise TransientSubmitError("http_503")
            return f"op-{message.message_id}"

    first, second = Flaky(), Flaky()

    def all_done() -> bool:
        return first.accepted.total() + second.accepted.total() >= len(work)

    def second_takes_part() -> bool:
        if all_done():
            add_work(60)
        return second.accepted.total() > 20

    add_work(480)
    with RunningWorker(config, first):
        wait_until(lambda: first.accepted.total() > 100)
        with RunningWorker(config, second):
            wait_until(second_takes_part)
            wait_until(all_done)
    assert_each_once(config, work, first, second)


def test_a_worker_that_joins_goes_on_with_the_backlogs_of_its_partitions(brokers: list[str]) -> None:
    config = on(brokers, config_of_its_own(queue_size=30))
    prepare(config)
    backlogs = [
        backlog_of(f"{number}{name}", 200, segments_per_second=20) for number in range(PARTITIONS) for name in "AB"
    ]
    produce(config, [(int(message.customer_id[0]), message) for message in together(backlogs)])
    first, second = ScriptedOperator(), ScriptedOperator()
    before = overflowed()
    with RunningWorker(config, first):
        wait_until(lambda: overflowed() - before >= 8 * 160)
        with RunningWorker(config, second):
            wait_until(lambda: first.accepted.total() + second.accepted.total() >= 8 * 200)
    assert second.accepted, "it took no part"
    assert_each_once_in_order(backlogs, first, second)


@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
@pytest.mark.parametrize("first_back", ["database", "partition"])
def test_a_partition_that_goes_while_the_database_is_away_is_read_when_it_comes_back(
    brokers: list[str], strategy: str, first_back: str
) -> None:
    partitions_come_back(on(brokers, config_of_its_own()), strategy=strategy, first_back=first_back)
