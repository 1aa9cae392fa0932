"""Kafka to ClickHouse: inserts events, computes the statistics of their minutes and days, then commits the offsets.

After a crash in between, events are read again. An event that is read again replaces itself, and statistics computed
again are the same (see `snapshots`). So they are exact, however often the process dies or a topic is read again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, Message, TopicPartition

from apps.reporting.ingest import rows
from apps.reporting.ingest.refresher import Offsets, Partition, Refresher
from apps.reporting.ingest.snapshots import Minute
from apps.sms import events
from smsgateway.clickhouse import ClickHouse, ClickHouseError
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.kafka.batches import consume_batches
from smsgateway.kafka.groups import topics_by_process
from smsgateway.metrics import (
    INGEST_BATCH_DURATION,
    INGEST_EVENTS,
    INGEST_LAG,
    INGEST_LAG_TOTAL,
)
from smsgateway.process import Process

log = structlog.get_logger(__name__)

NAME: Final = "ingest"
BATCH_EVENTS: Final = 16_000
BATCH_SECONDS: Final = 0.5
LAG_SECONDS: Final = 5.0
CATCHING_UP_EVENTS: Final = 10 * BATCH_EVENTS
# Limits what librdkafka reads ahead. By default it would pause for a second each time the limit is reached.
CONSUMER: Final = {
    "queued.max.messages.kbytes": 8_192,
    "max.partition.fetch.bytes": 262_144,
    "fetch.queue.backoff.ms": 20,
}


def run(process: Process, *, config: Kafka, database: ClickHouse) -> None:
    """Copy the events of accepted messages and of statuses into `database` until asked to stop.

    Reads in the consumer group PREFIX.ingest; several copies share the Kafka partitions.
    """
    consumer = kafka.consumer(config, process=NAME, **CONSUMER)
    refresher = Refresher(database=database)
    lag = Lag(consumer)
    writer = Writer(config=config, database=database, refresher=refresher, lag=lag)
    try:
        consume_batches(
            process,
            consumer=consumer,
            topics=topics_by_process(config)[NAME],
            write=writer.write,
            # A refused insert is retried too: the schema may not exist yet, and no event may be lost for that.
            away=(ClickHouseError,),
            dead_letters=kafka.producer(config, client_id=f"smsgateway-{NAME}"),
            dead_letter_topic=config.topic_dead_letter,
            batch=BATCH_EVENTS,
            wait_seconds=BATCH_SECONDS,
            config=config,
            each_round=lag.measure,
            commits=writer,
        )
    finally:
        writer.close()
        refresher.close()


@dataclasses.dataclass(slots=True)
class _Batch:
    """Rows to insert. `offsets` are those after them, set once the unreadable events are in the dead letter topic."""

    columns: list[tuple[Any, ...]]
    minutes: set[Minute]
    newest: float
    offsets: Offsets = dataclasses.field(default_factory=dict)


class Writer:
    """Inserts one batch of Kafka messages while the next is read; commits a batch once its statistics are computed."""

    def __init__(self, *, config: Kafka, database: ClickHouse, refresher: Refresher, lag: Lag) -> None:
        self._database = database
        self._refresher = refresher
        self._lag = lag
        self._decoders: dict[str, rows.Decoder] = {
            config.topic_accepted: events.decode_accepted,
            config.topic_status: events.decode_status,
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inserts")
        self._batch: _Batch | None = None
        self._future: Future[None] | None = None
        self._offsets: Offsets = {}

    def write(self, messages: list[Message]) -> list[tuple[Message, str]]:
        """Start inserting the events, and return the unreadable ones, each with the reason.

        Raises ClickHouseError if the previous batch may not have been inserted. The next call, which may have the same
        messages, inserts it again.
        """
        self._refresher.make_room()
        with _no_cycles():
            batch, unreadable = self._read(messages)
        self._finish_insert()
        self._batch = batch
        self._begin_insert()
        return unreadable

    def written(self, _messages: list[Message]) -> None:
        if self._batch:
            self._batch.offsets = self._offsets

    def ready(self) -> list[TopicPartition]:
        if self._batch and self._future is None:
            self._begin_insert()
        elif self._future and self._future.done():
            with contextlib.suppress(ClickHouseError):  # the next call retries
                self._finish_insert()
        idle = self._batch is None
        return _topic_partitions(
            self._refresher.take_ready(catching_up=self._lag.total > CATCHING_UP_EVENTS, idle=idle)
        )

    def forget(self, partitions: set[Partition]) -> None:
        for partition in partitions:
            self._offsets.pop(partition, None)
            if self._batch:
                self._batch.offsets.pop(partition, None)
        self._refresher.forget(partitions)

    def finish(self) -> list[TopicPartition]:
        try:
            self._finish_insert()
        except ClickHouseError as error:
            log.error("batch_left_to_the_next_start", error=str(error)[:500])
        self.close()
        return _topic_partitions(self._refresher.finish())

    def close(self) -> None:
        """End the thread, even if its insert failed."""
        self._thread.shutdown()

    def _read(self, messages: list[Any]) -> tuple[_Batch, list[tuple[Message, str]]]:
        # Any: a message that was read has a topic, partition and offset; checking each for None would take time.
        readable: list[rows.Row] = []
        unreadable: list[tuple[Message, str]] = []
        offsets: Offsets = {}
        for message in messages:
            topic = message.topic()
            offsets[topic, message.partition()] = message.offset() + 1  # the last message of a partition is its newest
            try:
                readable.append(rows.read(message.value() or b"", decode=self._decoders[topic]))
            except rows.UnreadableEvent as error:
                unreadable.append((message, str(error)))
        self._offsets = offsets
        if not readable:
            return _Batch([], set(), 0.0), unreadable
        columns = rows.columns(readable)
        minutes = set(zip(columns[rows.CUSTOMER], columns[rows.MINUTE], strict=True))
        return _Batch(columns, minutes, max(columns[rows.AT]) / 1000), unreadable

    def _begin_insert(self) -> None:
        if self._batch:
            self._future = self._thread.submit(self._insert, self._batch.columns)

    def _insert(self, columns: list[tuple[Any, ...]]) -> None:
        """Runs in the thread."""
        if not columns:
            return
        counts = Counter(columns[rows.TYPE])
        with INGEST_BATCH_DURATION.time():
            self._database.insert(rows.INSERT, columns)
        for kind, count in counts.items():
            INGEST_EVENTS.labels(kind).inc(count)

    def _finish_insert(self) -> None:
        """Wait for the batch that is being inserted. Raises ClickHouseError and keeps the batch if that fails."""
        if self._batch is None:
            return
        if self._future is None:
            self._begin_insert()
        future, self._future = self._future, None
        if future:
            future.result()
        batch, self._batch = self._batch, None
        self._refresher.inserted(batch.minutes, batch.offsets, newest=batch.newest)


class Lag:
    """Measures how far reading lags behind Kafka, every few seconds: `total` in all, and metrics per partition."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._due = 0.0
        self.total = 0

    def measure(self) -> None:
        """Sends no request: the consumer knows the end of each partition from its own reads."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LAG_SECONDS
        INGEST_LAG.clear()  # some partitions may belong to another copy now
        total = 0
        for place in self._consumer.position(self._consumer.assignment()):
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            if end == OFFSET_INVALID or place.offset == OFFSET_INVALID:
                continue
            behind = max(end - place.offset, 0)
            INGEST_LAG.labels(place.topic, place.partition).set(behind)
            total += behind
        self.total = total
        INGEST_LAG_TOTAL.set(total)


@contextlib.contextmanager
def _no_cycles() -> Iterator[None]:
    """Pause garbage collection: a batch has very many objects and no cycles, and searching them doubles its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _topic_partitions(offsets: Offsets) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
