"""The lag of consumer groups, read from outside."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from django.conf import settings
from prometheus_client import REGISTRY

from apps.sms.watch import Group
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.kafka.lag import LagClient, Progress, lag
from tests.support.kafka_topics import a_topic


@pytest.fixture
def config() -> Kafka:
    found: Kafka = settings.CONFIG.kafka
    return found


def publish(config: Kafka, topic: str, count: int, *, partition: int = 0) -> None:
    producer = kafka.producer(config, client_id="test")
    kafka.publish_and_wait(producer, [kafka.Record(topic, b"k", b"v", [], partition) for _ in range(count)])


def commit(config: Kafka, process: str, topic: str, offset: int) -> None:
    consumer = kafka.consumer(config, process=process)
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def test_lag_counts_what_a_group_has_not_committed(config: Kafka) -> None:
    topic, process = a_topic(config), f"p{uuid.uuid4().hex[:8]}"
    publish(config, topic, 3)

    def behind() -> int:
        return sum(lag(config, process=process, topics=[topic, "sms.nowhere"]).values())

    assert behind() == 3
    consumer = kafka.consumer(config, process=process)
    consumer.subscribe([topic])
    found: list[Any] = []
    while len(found) < 3:
        found += consumer.consume(10, timeout=1.0)
    assert behind() == 3
    consumer.commit(offsets=kafka.next_offsets(found[:2]), asynchronous=False)
    assert behind() == 1
    consumer.commit(offsets=kafka.next_offsets(found), asynchronous=False)
    consumer.close()
    assert behind() == 0


def test_groups_that_share_a_topic_have_their_own_progress(config: Kafka) -> None:
    shared, own = a_topic(config), a_topic(config)
    first, second, third = (f"p{uuid.uuid4().hex[:8]}" for _ in range(3))
    publish(config, shared, 3)
    publish(config, own, 2, partition=1)
    commit(config, first, shared, 2)
    wanted = {first: [shared], second: [shared, own, "sms.nowhere"], third: ["sms.nowhere"]}
    found = LagClient(config, client_id="test").progress(wanted, timeout=10)
    assert found[first][shared, 0] == Progress(committed=2, end=3)
    assert found[first][shared, 0].lag == 1
    assert found[second][shared, 0] == Progress(committed=0, end=3)
    assert found[second][own, 1].lag == 2
    assert sum(progress.lag for progress in found[second].values()) == 5
    assert found[third] == {}


def test_watch_measures_the_lag_of_a_group_and_for_how_long_it_has_been_behind(config: Kafka) -> None:
    topic, process = a_topic(config), f"p{uuid.uuid4().hex[:8]}"
    group = Group(LagClient(config, client_id="test"), process=process, topics=(topic, "sms.nowhere"))

    def shown(now: float) -> list[float | None]:
        group.measure(now=now)
        labels = {"process": process, "topic": topic}
        return [
            REGISTRY.get_sample_value(name, labels)
            for name in ("watch_consumer_lag_events", "watch_consumer_behind_seconds")
        ]

    assert shown(100.0) == [0, 0]
    publish(config, topic, 2)
    assert shown(110.0) == [2, 0]
    assert shown(170.0) == [2, 60]
    commit(config, process, topic, 2)
    assert shown(180.0) == [0, 0]
