"""Partitions that go while they are paused and come back: they are read again, and nothing is left behind.

The client keeps the application's pause of a partition over revoke and assign. Here on the embedded broker;
tests/devservices/test_handover_on_apache_kafka.py has the same on Apache Kafka.
"""

from __future__ import annotations

import threading

import pytest

from apps.sms import events
from smsgateway.config import Config
from tests.support.consumers import BatchConsumer, Database, partitions_come_back
from tests.support.delivery import (
    PARTITIONS,
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_statuses,
    requested,
    wait_until,
)

QUEUE_SIZE = 5
CUSTOMERS = 5


def backlog(config: Config, each: int, *, pace: int) -> list[events.DeliveryRequested]:
    """So many messages of each of several customers, who share partitions."""
    sent = [
        requested(customer_id=f"C{number}", segments_per_second=pace)
        for _ in range(each)
        for number in range(CUSTOMERS)
    ]
    produce(config, [(int(message.customer_id[1:]) % PARTITIONS, message) for message in sent])
    return sent


def test_under_a_backlog_a_second_worker_comes_and_goes_and_nothing_is_left_behind() -> None:
    config = config_of_its_own(queue_size=QUEUE_SIZE)
    first, second = ScriptedOperator(), ScriptedOperator()
    sent = backlog(config, 1200, pace=60)
    with RunningWorker(config, first):
        wait_until(lambda: first.accepted.total() >= 50)
        for _ in range(2):
            with RunningWorker(config, second):
                before = second.accepted.total()
                wait_until(lambda before=before: second.accepted.total() >= before + 50)  # type: ignore[misc]
        assert len(first.accepted) + len(second.accepted) < len(sent), "there was no backlog at the stops"
        done = 0
        while (taken := len(first.accepted) + len(second.accepted)) < len(sent):  # it goes on, however slow the machine
            wait_until(lambda: len(first.accepted) + len(second.accepted) > done)  # noqa: B023
            done = taken
    # How often each went out is asserted on Apache Kafka: this broker may refuse a commit in a rebalance.
    accepted = first.accepted + second.accepted
    assert set(accepted) == {message.message_id for message in sent}
    assert {event.message_id for event in read_statuses(config)} == set(accepted)


@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
@pytest.mark.parametrize("first_back", ["database", "partition"])
def test_a_partition_that_goes_while_the_database_is_away_is_read_when_it_comes_back(
    strategy: str, first_back: str
) -> None:
    partitions_come_back(config_of_its_own(), strategy=strategy, first_back=first_back)


def test_what_went_to_another_consumer_is_written_and_committed_by_that_one_alone() -> None:
    """A commit of the first would take the second's newer one back: the group would seem to be behind."""
    config = config_of_its_own()
    away, well = Database(), Database()
    away.is_away = True
    first = BatchConsumer(config, away)
    first.publish(1)
    with first:
        wait_until(lambda: away.refused > 0)
        with BatchConsumer(config, well) as second:
            wait_until(lambda: 0 < len(second.partitions) < PARTITIONS)
            wait_until(lambda: len(first.partitions) + len(second.partitions) == PARTITIONS)
            first.publish(3)
            kept = set(first.partitions)
            wait_until(lambda: len(well.written) == 4 * (PARTITIONS - len(kept)))
            away.is_away = False
            wait_until(lambda: len(away.written) == 4 * len(kept))
            wait_until(lambda: sum(first.lag().values()) == 0)
            assert {partition for partition, _ in away.written} == kept


def test_threads_of_stopped_consumers_are_gone() -> None:
    with BatchConsumer(config_of_its_own(), Database()) as consumer:
        consumer.publish(1)
        wait_until(lambda: len(consumer.partitions) == PARTITIONS)
    assert not [thread for thread in threading.enumerate() if thread.name == "unread-partitions"]
