"""Kafka to ClickHouse: events are inserted, the statistics of their minutes and days computed, and then committed.

A crash anywhere between reads events again. An event that is read again replaces itself, and statistics that are
computed again are the same (see `snapshots`). So they are exact however often the bridge dies or a topic is read again.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from confluent_kafka import OFFSET_INVALID, Consumer, Message, TopicPartition

from apps.reporting import rows
from apps.reporting.refreshing import Offsets, Refresher
from apps.reporting.snapshots import Minute
from apps.sms import events
from smsgateway import kafka
from smsgateway.clickhouse import ClickHouse, ClickHouseError
from smsgateway.config import groups
from smsgateway.consuming import consume_batches
from smsgateway.metrics import (
    INGEST_BATCH_DURATION,
    INGEST_EVENTS,
    INGEST_LAG,
    INGEST_LAG_TOTAL,
)
from smsgateway.process import Process

NAME: Final = "ingest"
BATCH_EVENTS: Final = 50_000
BATCH_SECONDS: Final = 0.5
LAG_SECONDS: Final = 5.0
# Bounds what librdkafka reads ahead of the batches.
CONSUMER: Final = {"queued.max.messages.kbytes": 32_768}


def run(process: Process, *, config: groups.Kafka, database: ClickHouse) -> None:
    """Bring the events of accepted messages and of statuses into `database` until asked to stop.

    Reads in the consumer group PREFIX.ingest; more copies share the Kafka partitions.
    """
    consumer = kafka.consumer(config, process=NAME, **CONSUMER)
    refresher = Refresher(database=database)
    writer = Writer(config=config, database=database, refresher=refresher)
    lag = Lag(consumer)
    try:
        consume_batches(
            process,
            consumer=consumer,
            topics=[config.topic_accepted, config.topic_status],
            write=writer.write,
            # A refused insert waits too: the schema may not be there yet, and no event is worth losing for it.
            away=(ClickHouseError,),
            dead_letters=kafka.producer(config, client_id=f"smsgateway-{NAME}"),
            dead_letter_topic=config.topic_dead_letter,
            batch=BATCH_EVENTS,
            wait_seconds=BATCH_SECONDS,
            each_round=lag.measure,
            commits=writer,
        )
    finally:
        refresher.close()


class Writer:
    """Inserts batches of Kafka messages; commits them when their statistics are computed."""

    def __init__(self, *, config: groups.Kafka, database: ClickHouse, refresher: Refresher) -> None:
        self._database = database
        self._refresher = refresher
        self._decoders: dict[str, rows.Decoder] = {
            config.topic_accepted: events.decode_accepted,
            config.topic_status: events.decode_status,
        }
        self._minutes: set[Minute] = set()
        self._newest = 0.0

    def write(self, messages: list[Message]) -> list[tuple[Message, str]]:
        """Insert the events, and return those that nobody can read, each with the reason.

        Raises ClickHouseError if they may not have been written; calling again with the same messages is right.
        """
        self._refresher.make_room()
        with _no_cycles():
            return self._write(messages)

    def _write(self, messages: list[Message]) -> list[tuple[Message, str]]:
        readable: list[rows.Row] = []
        unreadable: list[tuple[Message, str]] = []
        for message in messages:
            try:
                readable.append(rows.read(message.value() or b"", decode=self._decoders[message.topic()]))
            except rows.UnreadableEvent as error:
                unreadable.append((message, str(error)))
        if readable:
            columns = rows.columns(readable)
            self._minutes.update(zip(columns[rows.CUSTOMER], columns[rows.MINUTE], strict=True))
            self._newest = max(columns[rows.AT]) / 1000
            counts = Counter(columns[rows.TYPE])
            with INGEST_BATCH_DURATION.time():
                self._database.insert(rows.INSERT, columns)
            for kind, count in counts.items():
                INGEST_EVENTS.labels(kind).inc(count)
        return unreadable

    def written(self, messages: list[Message]) -> None:
        self._refresher.inserted(self._minutes, _offsets(messages), newest=self._newest)
        self._minutes = set()

    def ready(self) -> list[TopicPartition]:
        return _places(self._refresher.take_ready())

    def finish(self) -> list[TopicPartition]:
        return _places(self._refresher.finish())


class Lag:
    """Tells how far the statistics are behind what stands on Kafka, as metrics, every few seconds."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._due = 0.0

    def measure(self) -> None:
        """Asks nobody: the consumer knows from its own reading how far each partition goes."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LAG_SECONDS
        INGEST_LAG.clear()  # partitions that another copy has now
        total = 0
        for place in self._consumer.position(self._consumer.assignment()):
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            if end == OFFSET_INVALID or place.offset == OFFSET_INVALID:
                continue
            behind = max(end - place.offset, 0)
            INGEST_LAG.labels(place.topic, place.partition).set(behind)
            total += behind
        INGEST_LAG_TOTAL.set(total)


@contextlib.contextmanager
def _no_cycles() -> Iterator[None]:
    """A batch is a great many objects and no cycles: looking for some doubles the time it takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _offsets(messages: list[Message]) -> Offsets:
    return {(place.topic, place.partition): place.offset for place in kafka.next_offsets(messages)}


def _places(offsets: Offsets) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
