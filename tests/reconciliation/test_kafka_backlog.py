"""The lag counts events that are not committed yet, and no others."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from tests.support.kafka_topics import a_topic


def test_lag_counts_what_a_group_has_not_committed() -> None:
    config: Kafka = settings.CONFIG.kafka
    topic, process = a_topic(config), f"p{uuid.uuid4().hex[:8]}"
    producer = kafka.producer(config, client_id="test")
    kafka.publish_and_wait(producer, [kafka.Record(topic, b"k", b"v", []) for _ in range(3)])

    def lag() -> int:
        return sum(kafka.lag(config, process=process, topics=[topic, "sms.nowhere"]).values())

    assert lag() == 3
    consumer = kafka.consumer(config, process=process)
    consumer.subscribe([topic])
    found: list[Any] = []
    while len(found) < 3:
        found += consumer.consume(10, timeout=1.0)
    assert lag() == 3
    consumer.commit(offsets=kafka.next_offsets(found[:2]), asynchronous=False)
    assert lag() == 1
    consumer.commit(offsets=kafka.next_offsets(found), asynchronous=False)
    consumer.close()
    assert lag() == 0
