"""A metric shows partitions that have messages and from which the consumer reads none, without asking the consumer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import TopicPartition
from prometheus_client import REGISTRY

from apps.sms import events
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.kafka import unread
from smsgateway.kafka.unread import Partition, UnreadPartitions
from tests.support.consumers import BatchConsumer, Database
from tests.support.delivery import (
    PARTITIONS,
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    requested,
    wait_until,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "LOOK_SECONDS", 0.05)


def seconds(topic: str) -> float:
    return REGISTRY.get_sample_value("consumer_unread_seconds", {"topic": topic}) or 0.0


@pytest.mark.breaks("PartitionUnread")
def test_a_lane_that_the_client_does_not_read_shows_until_it_is_read_again() -> None:
    config = config_of_its_own()
    lanes = [TopicPartition(config.kafka.topic_delivery, number) for number in range(PARTITIONS)]
    operator = ScriptedOperator()
    with RunningWorker(config, operator) as running:
        produce(config, [(0, requested())])
        wait_until(lambda: operator.accepted.total() == 1)
        consumer = running.worker._source._consumer
        consumer.pause(lanes)  # behind the worker's back
        produce(config, [(0, requested())])
        wait_until(lambda: seconds(config.kafka.topic_delivery) > 0.5)
        assert operator.accepted.total() == 1
        consumer.resume(lanes)
        wait_until(lambda: operator.accepted.total() == 2)
        wait_until(lambda: seconds(config.kafka.topic_delivery) == 0)


def test_a_lane_that_waits_for_room_in_a_queue_does_not_count() -> None:
    config = config_of_its_own(queue_size=2, overflow_lanes=1)
    operator = ScriptedOperator()
    sent = [requested(segments_per_second=1) for _ in range(1200)]  # more than two batches of the reading
    lane = config.kafka.overflow_topics[0]
    seen: list[float] = []
    with RunningWorker(config, operator) as running:
        produce(config, [(0, message) for message in sent])
        wait_until(lambda: running.worker._source.paused_count > 0 and seconds(lane) == 0)
        paused_at = operator.accepted.total()

        def looks_on() -> bool:
            seen.append(seconds(lane))
            return operator.accepted.total() > paused_at + 2

        wait_until(looks_on)
    assert len(seen) > 2
    # Three messages at one a second: had it counted all the while, it would show seconds. Between its resume and the
    # next read it may show for a moment.
    assert max(seen) < 1


def test_while_its_database_is_away_nothing_counts_and_nothing_afterwards() -> None:
    config, database = config_of_its_own(), Database()
    topic = config.kafka.topic_status
    with BatchConsumer(config, database) as consumer:
        consumer.publish(1)
        wait_until(lambda: len(database.written) == PARTITIONS)
        database.is_away = True
        consumer.publish(1)
        wait_until(lambda: database.refused > 1)
        assert seconds(topic) == 0
        database.is_away = False
        wait_until(lambda: len(database.written) == 2 * PARTITIONS)
        wait_until(lambda: sum(consumer.lag().values()) == 0)
        assert seconds(topic) < 1


@pytest.fixture
def looked() -> tuple[Config, dict[Partition, int], Callable[[float], float]]:
    """A topic with three events in its first partition, what is to be read next, and a look: its seconds."""
    config = config_of_its_own()
    topic = config.kafka.topic_status
    record = kafka.Record(topic, b"key", events.encode(requested()), [], 0)
    kafka.publish_and_wait(kafka.producer(config.kafka, client_id="test"), [record] * 3)
    positions: dict[Partition, int] = {}
    measured = UnreadPartitions(config.kafka, process="test", positions=lambda: positions)

    def look(now: float) -> float:
        measured.look(now=now)
        return seconds(topic)

    return config, positions, look


def test_it_counts_from_the_first_look_that_finds_the_position_unchanged(
    looked: tuple[Config, dict[Partition, int], Callable[[float], float]],
) -> None:
    config, positions, look = looked
    place = (config.kafka.topic_status, 0)
    positions[place] = 1
    assert [look(100.0), look(130.0), look(161.0)] == [0.0, 30.0, 61.0]
    positions[place] = 2
    assert [look(170.0), look(180.0)] == [0.0, 10.0]
    positions[place] = 3
    assert look(300.0) == 0.0, "it is read to its end"


def test_a_partition_of_which_nothing_was_read_yet_counts_from_what_is_committed(
    looked: tuple[Config, dict[Partition, int], Callable[[float], float]],
) -> None:
    config, positions, look = looked
    place = (config.kafka.topic_status, 0)
    positions[place] = -1001
    assert [look(100.0), look(165.0)] == [0.0, 65.0]
    consumer = kafka.consumer(config.kafka, process="test")
    consumer.commit(offsets=[TopicPartition(*place, 3)], asynchronous=False)
    consumer.close()
    assert look(170.0) == 0.0


def test_a_partition_that_has_gone_is_forgotten(
    looked: tuple[Config, dict[Partition, int], Callable[[float], float]],
) -> None:
    config, positions, look = looked
    place = (config.kafka.topic_status, 0)
    positions[place] = 0
    assert [look(100.0), look(165.0)] == [0.0, 65.0]
    del positions[place]
    assert look(170.0) == 0.0
    positions[place] = 0
    assert look(175.0) == 0.0, "another had it meanwhile"
