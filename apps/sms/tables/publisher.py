"""Publishes a table of PostgreSQL to a compacted topic that workers follow. The relay does this beside the outbox.

About once a second it reads the table's version from PostgreSQL, and publishes the whole table when the version has
changed. It never waits for Kafka: confirmations arrive while the relay goes on, and what was not confirmed is published
again. A table that is too large for one event is published in parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from django.db import Error as DatabaseError
from django.db import connection

from smsgateway.metrics import TABLE_ERRORS, TABLE_PUBLISHED, TABLE_PUBLISHED_VERSION, TABLE_UNPUBLISHED

log = structlog.get_logger(__name__)

Row = TypeVar("Row")

# Kafka accepts records of up to a megabyte. Every worker keeps the whole table, so its size is limited too.
PART_BYTES: Final = 500_000
MOST_PARTS: Final = 32

_LOOK_SECONDS: Final = 1.0
# An unchanged table is published again after this time, so that a topic that was lost or recreated gets one.
_AGAIN_SECONDS: Final = 300.0


class TableTooLarge(Exception):
    """The table is too large to be published"""


class Snapshot(NamedTuple):
    """The table at one moment, as records: key and event of each part."""

    version: int
    rows: int
    records: Sequence[tuple[bytes, bytes]]


class TablePublisher:
    """Call `tick` often, from the thread that polls the producer; it neither raises nor waits for Kafka."""

    name: ClassVar[str]

    def __init__(self, producer: Producer, *, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._producer = producer
        self._topic = topic
        self._clock = clock
        self._looked_at = float("-inf")
        self._sent_at = float("-inf")
        self._sent: int | None = None  # the version that Kafka has, or that is being sent
        self._confirmed_version: int | None = None  # the version that Kafka has confirmed
        self._pending_since: float | None = None  # since when Kafka may lack the newest version
        self._renewed = False
        self._in_trouble = False

    def renew(self) -> None:
        """Count up the version at the start, so that the table of a restored database comes into force again."""
        raise NotImplementedError

    def version(self) -> int:
        """The version of the table in the database. Raises django.db.Error."""
        raise NotImplementedError

    def snapshot(self) -> Snapshot:
        """The table in the database. Raises django.db.Error, TableTooLarge."""
        raise NotImplementedError

    def tick(self) -> None:
        """About once a second: publish the table if it has changed."""
        self._producer.poll(0)
        now = self._clock()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            self._look(now)
        except DatabaseError as error:
            self._failed("database", str(error).strip())
            connection.close()
        except TableTooLarge as error:
            self._failed("size", str(error))
        except (BufferError, KafkaException) as error:
            self._failed("kafka", str(error))
        waits = 0.0 if self._pending_since is None else now - self._pending_since
        TABLE_UNPUBLISHED.labels(self.name).set(waits)

    def _look(self, now: float) -> None:
        if not self._renewed:
            self.renew()
            self._renewed = True
        version = self.version()
        if version == self._confirmed_version:
            self._pending_since, self._in_trouble = None, False
        elif self._pending_since is None:
            self._pending_since = now
        if version == self._sent and now - self._sent_at < _AGAIN_SECONDS:
            return
        snapshot = self.snapshot()
        unconfirmed = len(snapshot.records)

        def report(error: KafkaError | None, _message: object) -> None:
            nonlocal unconfirmed
            if error is not None:
                self._failed("kafka", error.str())
                if self._sent == snapshot.version:
                    self._sent = None
                return
            unconfirmed -= 1
            if not unconfirmed:
                self._confirmed(snapshot)

        for key, value in snapshot.records:
            self._producer.produce(self._topic, value, key, on_delivery=report)
        self._sent, self._sent_at = snapshot.version, now

    def _confirmed(self, snapshot: Snapshot) -> None:
        self._confirmed_version, self._in_trouble = snapshot.version, False
        if self._sent == snapshot.version:
            self._pending_since = None
        TABLE_PUBLISHED.labels(self.name).inc()
        TABLE_PUBLISHED_VERSION.labels(self.name).set(snapshot.version)
        fields: dict[str, Any] = {"version": snapshot.version, self.name: snapshot.rows, "parts": len(snapshot.records)}
        log.info(f"{self.name}_published", **fields)

    def _failed(self, reason: str, error: str) -> None:
        TABLE_ERRORS.labels(self.name, reason).inc()
        if self._pending_since is None:
            self._pending_since = self._looked_at
        if not self._in_trouble:
            log.error(f"{self.name}_wait", away=reason, error=error)
        self._in_trouble = True


def most_bytes() -> int:
    """The size up to which a table can be published for sure: parts are not filled to the last byte."""
    return PART_BYTES * MOST_PARTS * 9 // 10


def split(rows: Iterable[Row], *, size: Callable[[Row], int]) -> list[tuple[Row, ...]]:
    """Split rows into parts that each fit an event; at least one part. Raises TableTooLarge."""
    parts: list[list[Row]] = [[]]
    used = 0
    for row in rows:
        length = size(row) + 1
        if length > PART_BYTES:
            raise TableTooLarge(f"one row has {length:,} bytes, at most {PART_BYTES:,} can be published")
        if used + length > PART_BYTES and parts[-1]:
            parts.append([])
            used = 0
        parts[-1].append(row)
        used += length
    if len(parts) > MOST_PARTS:
        raise TableTooLarge(f"it has {len(parts)} parts of {PART_BYTES:,} bytes, at most {MOST_PARTS} can be published")
    return [tuple(part) for part in parts]
