"""Follows a table on a compacted topic, in a thread of its own beside the worker's event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar, Final, Generic, TypeVar

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from apps.sms import events
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.metrics import EVENTS_UNREADABLE, TABLE_ERRORS

log = structlog.get_logger(__name__)

Row = TypeVar("Row")

_POLL_SECONDS: Final = 0.5
_ASK_SECONDS: Final = 5.0
_TROUBLE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.5
_BATCH: Final = 100


class TableReader:
    """Keeps the newest version of a table on Kafka.

    `start` returns when the whole topic has been read, or after `wait_seconds` without a table. A table that was read
    stays in force while its topic or Kafka is unavailable.

    The consumer belongs to no group: each process reads the whole topic, and commits nothing.
    """

    name: ClassVar[str]

    def __init__(self, config: Config, *, topic: str, wait_seconds: float) -> None:
        self._config = config
        self._topic = topic
        self._wait_seconds = wait_seconds
        self._answered = threading.Event()  # Kafka has answered whether the topic exists
        self._caught_up = threading.Event()
        self._stopping = threading.Event()
        self._in_trouble = False
        self._thread = threading.Thread(target=self._run, name=f"{self.name}-reader", daemon=True)

    @property
    def version(self) -> int:
        """The version in use; 0 if no table was read yet."""
        raise NotImplementedError

    def use(self, messages: list[Message]) -> None:
        """Called in the reader's thread with the messages read: use the newest table among them."""
        raise NotImplementedError

    async def start(self, *, until: threading.Event | None = None) -> None:
        """Begin to follow; return when the table may be used.

        With `until` it waits for Kafka's answer without a limit, or until that event is set: for a table without which
        nothing may be sent.
        """
        self._thread.start()
        while until is not None and not until.is_set() and not self._answered.is_set():
            await asyncio.to_thread(self._answered.wait, _LOOK_SECONDS)
        if until is None or not until.is_set():
            await asyncio.to_thread(self._caught_up.wait, self._wait_seconds)
        if not self.version:
            log.warning(f"{self.name}_unknown", reason="Kafka has no such table yet", topic=self._topic)

    async def close(self) -> None:
        """Stop following. The table stays as it is."""
        self._stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except Exception:
                # A bug must not leave the worker with an old table: start again.
                TABLE_ERRORS.labels(self.name, "internal").inc()
                log.exception(f"{self.name}_reader_failed")
                self._stopping.wait(_TROUBLE_SECONDS)

    def _follow(self) -> None:
        # A topic that the broker creates on demand would not be compacted.
        options = {"enable.partition.eof": True, "allow.auto.create.topics": False}
        consumer = kafka.consumer(self._config.kafka, process=self.name, **options)
        try:
            partitions = self._partitions(consumer)
            consumer.assign(partitions)
            behind = {partition.partition for partition in partitions}
            while not self._stopping.is_set():
                self._take(consumer.consume(_BATCH, _POLL_SECONDS), behind)
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer) -> list[TopicPartition]:
        """All partitions of the topic from their beginnings, as soon as the topic exists; empty if stopped before.

        There should be one partition, but a broker that created the topic by itself may have made more.
        """
        while not self._stopping.is_set():
            try:
                found = consumer.list_topics(self._topic, timeout=_ASK_SECONDS).topics[self._topic]
            except KafkaException as error:
                self._trouble(str(error))
            else:
                self._answered.set()
                if found.error is None and found.partitions:
                    return [TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in found.partitions]
            self._stopping.wait(_TROUBLE_SECONDS)
        return []

    def _take(self, messages: list[Message], behind: set[int]) -> None:
        found: list[Message] = []
        for message in messages:
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                behind.discard(kafka.partition_of(message))
                self._in_trouble = False
            else:
                self._trouble(error.str())
        if found:
            self.use(found)
        if not behind and self.version:
            self._caught_up.set()

    def _trouble(self, error: str) -> None:
        TABLE_ERRORS.labels(self.name, "kafka").inc()
        if not self._in_trouble:
            log.warning(f"{self.name}_not_followed", error=error, version=self.version)
        self._in_trouble = True


class Parts(Generic[Row]):
    """Collects the parts of a table, of the newest version seen."""

    def __init__(self) -> None:
        self._version = 0
        self._parts: dict[int, tuple[Row, ...]] = {}

    def add(self, *, version: int, part: int, parts: int, rows: tuple[Row, ...]) -> tuple[Row, ...] | None:
        """All rows of the version if this part was the last missing one, else None."""
        if version < self._version:
            return None
        if version > self._version:
            self._version, self._parts = version, {}
        self._parts[part] = rows
        if len(self._parts) < parts:
            return None
        whole = tuple(row for number in sorted(self._parts) for row in self._parts[number])
        self._parts = {}
        return whole


def decoded(message: Message, decode: Any) -> Any | None:
    """The event, or None if it is unreadable, which is logged."""
    try:
        return decode(message.value() or b"")
    except events.UnreadableEvent as error:
        EVENTS_UNREADABLE.labels(message.topic()).inc()
        log.error("table_unreadable", topic=str(message.topic()), error=str(error))
        return None
