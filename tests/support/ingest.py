"""Events for `manage.py ingest` on Kafka, and how many of them it has committed."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer

from apps.reporting.ingest import process as bridge
from apps.reporting.ingest import rows
from apps.sms import events
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka

ASK_SECONDS = 30.0
_askers: dict[str, Consumer] = {}


def publish(config: Kafka, *made: rows.ReportedEvent | tuple[str, bytes]) -> None:
    """Publish events to the topic they belong to; a raw value comes with its topic."""
    records = []
    for event in made:
        if isinstance(event, tuple):
            records.append(kafka.Record(event[0], b"key", event[1], []))
        else:
            is_accepted = isinstance(event, events.MessageAccepted)
            topic = config.topic_accepted if is_accepted else config.topic_status
            records.append(kafka.Record(topic, event.customer_id.encode(), events.encode(event), []))
    kafka.publish_and_wait(kafka.producer(config, client_id="test"), records)


def wait_until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.02)


def committed(config: Kafka) -> int:
    """How many events the group has committed, over all partitions of both topics."""
    # One client for all that ask of a group: the broker has one thread, which the group's members need too.
    asking = _askers.get(config.consumer_group_prefix)
    if asking is None:
        asking = _askers[config.consumer_group_prefix] = kafka.consumer(config, process=bridge.NAME)
    places = [
        kafka.TopicPartition(topic, partition)
        for topic in (config.topic_accepted, config.topic_status)
        for partition in asking.list_topics(topic, timeout=ASK_SECONDS).topics[topic].partitions
    ]
    return sum(max(place.offset, 0) for place in asking.committed(places, timeout=ASK_SECONDS))


def close_askers() -> None:
    """Close the clients that `committed` has asked with."""
    while _askers:
        _askers.popitem()[1].close()
