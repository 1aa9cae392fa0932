"""Measures how many events per second `ingest` writes from Apache Kafka to ClickHouse with statistics, and its memory.

The events are on Kafka before `ingest` starts: traffic of 1,000 customers at 33,333 messages per second, each accepted,
submitted and delivered (one in twenty fails), in order of time. The clock runs from the first insert until every offset
is committed: then all events are in the statistics, which are compared with the published events.
"""

from __future__ import annotations

import os
import random
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
from confluent_kafka import TopicPartition

from apps.devservices.demo.run import manage
from apps.devservices.gateway import INGEST, Gateway
from apps.devservices.processes import ServiceError
from apps.sms import events
from scripts import bench_cpu
from scripts.bench_delivery import create_topics
from smsgateway import config, ids
from smsgateway.clickhouse import ClickHouse
from smsgateway.kafka import client as kafka

CUSTOMERS = 1000
PER_SECOND = 33_333
# The next event of a message follows this many messages later.
SUBMITTED_AFTER, ENDED_AFTER = 10_000, 100_000
FAILED = 20  # one in this many
POLL_SECONDS = 0.5
LONGEST_SECONDS = 900.0
COUNTS = "SELECT sum(accepted), sum(delivered), sum(failed), sum(cost) FROM {view}"


def ingest(directory: Path, environ: Mapping[str, str], *, messages: int) -> dict[str, object]:
    """Run once over 3 events per message; return the figures. Raises ServiceError if a total is wrong."""
    topic = f"bench.{uuid.uuid4().hex[:8]}"
    own = {
        **environ,
        "KAFKA_TOPIC_ACCEPTED": f"{topic}.accepted",
        "KAFKA_TOPIC_STATUS": f"{topic}.status",
        "KAFKA_CONSUMER_GROUP_PREFIX": topic,
    }
    create_topics(own)
    loaded, _ = config.load(own)
    database = ClickHouse(loaded.clickhouse)
    manage("clickhouse_migrate", environ=own)
    for table in ("sms_events", "sms_minutes", "sms_days"):
        database.execute(f"TRUNCATE TABLE {table}")
    _publish(loaded, messages)
    with Gateway(directory=directory, environ=own) as gateway:
        gateway.start(INGEST)
        gateway.wait_ready()
        bridge = psutil.Process(gateway.pid(INGEST))
        watched = {
            "bridge": bridge,
            "kafka (Apache)": bench_cpu.service("kafka (Apache)", {"DEVSERVICES_DIR": str(directory.parent)}),
            "clickhouse (chDB)": bench_cpu.service("clickhouse (chDB)", environ),
        }
        rss_before = bridge.memory_info().rss
        url = f"http://127.0.0.1:{gateway.ports.ingest}/metrics"
        started = 0.0
        first_events, most_rss = 0, 0
        spent: dict[str, float] = {}
        began = time.monotonic()
        while True:
            time.sleep(POLL_SECONDS)
            gateway.check()
            shown = _metrics(url)
            most_rss = max(most_rss, bridge.memory_info().rss)
            inserted = sum(value for name, value in shown.items() if name.startswith("ingest_events_total"))
            if inserted and not started:
                started, first_events = time.monotonic(), int(inserted)
                spent = {name: bench_cpu.seconds(process) for name, process in watched.items()}
            if inserted >= 3 * messages and _committed(loaded) == 3 * messages:
                break
            if time.monotonic() - began > LONGEST_SECONDS:
                raise ServiceError(f"the bridge brought {inserted:.0f} events of {3 * messages}.")
        seconds = time.monotonic() - started
        cpu = {name: bench_cpu.seconds(process) - spent[name] for name, process in watched.items()}
        events_counted = 3 * messages - first_events
        snapshots = {
            interval: [
                shown.get(f'ingest_snapshot_duration_seconds_{what}{{interval="{interval}"}}', 0.0)
                for what in ("count", "sum")
            ]
            for interval in ("minute", "day")
        }
    failed = (messages + FAILED - 1) // FAILED
    expected = (messages, messages - failed, failed, messages * 100)
    for view in ("stats_minute", "stats_daily"):
        found = tuple(int(value) for value in database.query(COUNTS.format(view=view))[0])
        if found != expected:
            raise ServiceError(f"{view} has {found}; {expected} were published.")
    return {
        "bench": "ingest",
        "value": round(events_counted / seconds),
        "unit": "events/s, from Kafka to the statistics",
        "events": 3 * messages,
        "seconds": round(seconds, 1),
        "bridge_most_rss_mb": round(most_rss / 1e6),
        "bridge_rss_before_mb": round(rss_before / 1e6),
        "inserts": {
            "times": int(shown["ingest_batch_duration_seconds_count"]),
            "seconds": round(shown["ingest_batch_duration_seconds_sum"], 1),
        },
        "cpu_us_per_event": {name: round(used * 1e6 / events_counted, 2) for name, used in cpu.items()},
        "snapshots": {
            name: {"times": int(count), "seconds": round(total, 1)} for name, (count, total) in snapshots.items()
        },
        "statistics": "equal what was published",
        "kafka": "Apache Kafka, one broker",
        "cpus": os.cpu_count(),
    }


def _publish(loaded: config.Config, messages: int) -> None:
    producer = kafka.producer(loaded.kafka, client_id="bench")
    for topic, key, value in _traffic(loaded, messages):
        while True:
            try:
                producer.produce(topic, value, key)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    producer.flush(600)


def _traffic(loaded: config.Config, messages: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Topic, key and value of each event, in order of time, up to now."""
    start = time.time() - messages / PER_SECOND
    customers = [ids.to_text(ids.new_id()) for _ in range(CUSTOMERS)]
    keys = [customer.encode() for customer in customers]
    accepted, status = loaded.kafka.topic_accepted, loaded.kafka.topic_status
    waiting: dict[int, str] = {}
    chance = random.Random(1)
    for number in range(messages + ENDED_AFTER):
        now = int((start + number / PER_SECOND) * 1000)
        if number < messages:
            text = waiting[number] = ids.to_text(uuid.UUID(int=now << 80 | chance.getrandbits(80)))
            event = events.MessageAccepted(
                message_id=text,
                customer_id=customers[number % CUSTOMERS],
                accepted_at=now,
                operator="mci" if number % 3 else "irancell",
                country="IR",
                encoding="gsm7",
                segments=1,
                cost=100,
                currency="IRR",
            )
            yield accepted, keys[number % CUSTOMERS], events.encode(event)
        for name, after in (("submitted", SUBMITTED_AFTER), ("delivered", ENDED_AFTER)):
            of = number - after
            if 0 <= of < messages:
                ended = name != "submitted"
                text = waiting.pop(of) if ended else waiting[of]
                reached = "failed" if ended and of % FAILED == 0 else name
                event_of = events.StatusChanged(
                    message_id=text,
                    customer_id=customers[of % CUSTOMERS],
                    status=reached,
                    at=now,
                    operator="mci" if of % 3 else "irancell",
                    operator_message_id=text[-12:],
                    attempt=1,
                    segments=1,
                    cost=100,
                )
                yield status, keys[of % CUSTOMERS], events.encode(event_of)


def _metrics(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if not name.startswith("#")
    }


def _committed(loaded: config.Config) -> int:
    """The number of events that the group of `ingest` has committed."""
    asking = kafka.consumer(loaded.kafka, process=INGEST)
    try:
        places = [
            TopicPartition(topic, partition)
            for topic in (loaded.kafka.topic_accepted, loaded.kafka.topic_status)
            for partition in asking.list_topics(topic, timeout=30).topics[topic].partitions
        ]
        return sum(max(place.offset, 0) for place in asking.committed(places, timeout=30))
    finally:
        asking.close()
