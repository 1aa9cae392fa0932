"""Kafka to ClickHouse: events are inserted, the statistics of their minutes and days computed, and then committed.

A crash anywhere between reads events again. An event that is read again replaces itself, and statistics that are
computed again are the same (see `snapshots`). So they are exact however often the bridge dies or a topic is read again.
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
from apps.reporting.ingest.refresher import Offsets, Place, Refresher
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
BEHIND_EVENTS: Final = 10 * BATCH_EVENTS
# Bounds what librdkafka reads ahead of the batches. By default it would pause for a second whenever that much is there.
CONSUMER: Final = {
    "queued.max.messages.kbytes": 8_192,
    "max.partition.fetch.bytes": 262_144,
    "fetch.queue.backoff.ms": 20,
}


def run(process: Process, *, config: Kafka, database: ClickHouse) -> None:
    """Bring the events of accepted messages and of statuses into `database` until asked to stop.

    Reads in the consumer group PREFIX.ingest; more copies share the Kafka partitions.
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
            # A refused insert waits too: the schema may not be there yet, and no event is worth losing for it.
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
    """Rows to insert. `offsets` come after them; there are none before what is unreadable is with the dead letters."""

    columns: list[tuple[Any, ...]]
    minutes: set[Minute]
    newest: float
    offsets: Offsets = dataclasses.field(default_factory=dict)


class Writer:
    """Inserts batches of Kafka messages, one while the next is read; commits them when their statistics stand."""

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
        """Begin to insert the events, and return those that nobody can read, each with the reason.

        Raises ClickHouseError if the batch before may not have been inserted; that is tried again in the next call,
        which may be with the same messages.
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
            with contextlib.suppress(ClickHouseError):  # the next call begins again
                self._finish_insert()
        idle = self._batch is None
        return _places(self._refresher.take_ready(behind=self._lag.total > BEHIND_EVENTS, idle=idle))

    def forget(self, partitions: set[Place]) -> None:
        for place in partitions:
            self._offsets.pop(place, None)
            if self._batch:
                self._batch.offsets.pop(place, None)
        self._refresher.forget(partitions)

    def finish(self) -> list[TopicPartition]:
        try:
            self._finish_insert()
        except ClickHouseError as error:
            log.error("batch_left_to_the_next_start", error=str(error)[:500])
        self.close()
        return _places(self._refresher.finish())

    def close(self) -> None:
        """End the thread, whatever it has done."""
        self._thread.shutdown()

    def _read(self, messages: list[Any]) -> tuple[_Batch, list[tuple[Message, str]]]:
        # Any: of a message that was read, topic, partition and offset are known, and asking each time has its price.
        readable: list[rows.Row] = []
        unreadable: list[tuple[Message, str]] = []
        offsets: Offsets = {}
        for message in messages:
            topic = message.topic()
            offsets[topic, message.partition()] = message.offset() + 1  # of a partition, the last one is the newest
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
        """Wait for the batch that is being inserted. Raises ClickHouseError; it is kept then."""
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
    """Tells how far reading is behind what stands on Kafka, in all as `total` and as metrics, every few seconds."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._due = 0.0
        self.total = 0

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
        self.total = total
        INGEST_LAG_TOTAL.set(total)


@contextlib.contextmanager
def _no_cycles() -> Iterator[None]:
    """A batch is a great many objects and no cycles: looking for some doubles the time it takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _places(offsets: Offsets) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
