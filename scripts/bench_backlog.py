"""Measures how long single messages take beside another customer's long backlog, and the worker's memory.

Apache Kafka holds `messages` of one customer with a pace of 100 segments per second, all in one partition, before the
worker starts. While it works, another customer's single message is published to the same partition every few seconds.
The figures are the times from there to the operator, and the worker's resident memory.
"""

from __future__ import annotations

import json
import os
import statistics
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil
from confluent_kafka import Producer

from apps.devservices.gateway import DELIVER, OPERATOR_SIMULATOR, Gateway
from apps.devservices.processes import ServiceError, wait_until
from apps.sms import events
from scripts.bench_delivery import create_topics
from smsgateway import config, ids
from smsgateway.kafka import client as kafka

PACE = 100
PARTITION = 0
PROBE_SECONDS = 2.0


def backlog(directory: Path, environ: Mapping[str, str], *, messages: int, seconds: float) -> dict[str, object]:
    """Run for this many seconds; return the figures. Raises ServiceError if a single message does not arrive."""
    topic = f"bench.{uuid.uuid4().hex[:8]}"
    own = {
        **environ,
        "KAFKA_TOPIC_DELIVERY": topic,
        "KAFKA_TOPIC_STATUS": f"{topic}.status",
        "KAFKA_CONSUMER_GROUP_PREFIX": topic,
    }
    create_topics(own)
    loaded, _ = config.load(own)
    producer = kafka.producer(loaded.kafka, client_id="bench")
    for _ in range(messages):
        _produce(producer, topic, _message("LONG", pace=PACE))
    producer.flush(600)
    waits: list[float] = []
    rss: list[int] = []
    with Gateway(directory=directory, environ=own, simulator_options=["--no-receipt-rate", "1"]) as gateway:
        gateway.start(OPERATOR_SIMULATOR, DELIVER)
        gateway.wait_ready()
        worker = psutil.Process(gateway.pid(DELIVER))
        first = _message("FIRST", pace=PACE)
        _produce(producer, topic, first)
        _wait_for(gateway, first)  # behind the whole backlog: wait until that is read
        read_through = time.time() - worker.create_time()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            single = _message(f"SHORT{len(waits)}", pace=PACE)
            started = time.monotonic()
            _produce(producer, topic, single)
            producer.flush(30)
            _wait_for(gateway, single)
            waits.append(time.monotonic() - started)
            rss.append(worker.memory_info().rss // 1_000_000)
            time.sleep(PROBE_SECONDS)
        gateway.check()
    return {
        "bench": "backlog",
        "value": round(statistics.median(waits) * 1000),
        "unit": "ms to the operator, median of a single message beside the backlog",
        "worst_ms": round(max(waits) * 1000),
        "singles": len(waits),
        "messages": messages,
        "backlog_read_through_seconds": round(read_through, 1),
        "worker_rss_mb": {"first": rss[0], "last": rss[-1], "most": max(rss)},
        "kafka": "Apache Kafka, one broker",
        "cpus": os.cpu_count(),
    }


def _message(customer: str, *, pace: int) -> events.DeliveryRequested:
    now = time.time_ns() // 1_000_000
    return events.DeliveryRequested(
        message_id=ids.to_text(ids.new_id()),
        customer_id=customer,
        accepted_at=now,
        expires_at=now + 86_400_000,
        operator="mci",
        to="+989121234567",
        sender="Bench",
        text="A message of ordinary length, as shops send them.",
        encoding="gsm7",
        segments=1,
        cost=100,
        segments_per_second=pace,
    )


def _produce(producer: Producer, topic: str, message: events.DeliveryRequested) -> None:
    while True:
        try:
            producer.produce(topic, events.encode(message), message.customer_id.encode(), PARTITION)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def _wait_for(gateway: Gateway, message: events.DeliveryRequested) -> None:
    url = f"{gateway.simulator_url}/control/messages?reference={message.message_id}"

    def arrived() -> bool:
        with urllib.request.urlopen(url) as answer:
            return bool(json.load(answer))

    if not wait_until(arrived, timeout=600):
        raise ServiceError(f"A single message did not come through: {message.message_id}.")
