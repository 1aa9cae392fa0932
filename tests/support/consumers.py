"""A loop of `consume_batches` in a thread, and a database that goes away when a test says so."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.kafka.batches import consume_batches
from smsgateway.kafka.lag import lag
from smsgateway.process import Process
from tests.support.delivery import PARTITIONS, wait_until

Place = tuple[int, int]  # partition and offset


class DatabaseAway(Exception):
    """It does not answer"""


class Database:
    """Keeps what was written, unless it is away; `refused` counts the batches that found it so. One that is made of
    another is away when that is, and writes there."""

    def __init__(self, other: Database | None = None) -> None:
        self._other = other
        self.is_away = False
        self.refused = 0
        self.written: set[Place] = set() if other is None else other.written

    def write(self, messages: list[Message]) -> list[tuple[Message, str]]:
        if (self._other or self).is_away:
            self.refused += 1
            raise DatabaseAway
        self.written |= {(kafka.partition_of(message), kafka.offset_of(message)) for message in messages}
        return []


class Followed:
    """A consumer that keeps which partitions it has. Asking it from a second thread in a rebalance may hang."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.owned: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def subscribe(self, topics: list[str], **callbacks: Callable[[Consumer, list[TopicPartition]], None]) -> None:
        """Like the consumer's own, with its rebalance callbacks."""

        def follow(event: str, consumer: Consumer, places: list[TopicPartition]) -> None:
            if event in callbacks:
                callbacks[event](consumer, places)
            changed = {place.partition for place in places}
            self.owned = self.owned | changed if event == "on_assign" else self.owned - changed

        events = ("on_assign", "on_revoke", "on_lost")
        self._consumer.subscribe(topics, **{event: functools.partial(follow, event) for event in events})


class BatchConsumer:
    """As settle and ingest read, of a topic of the test's own. A context manager."""

    def __init__(self, config: Config, database: Database, *, strategy: str = "cooperative-sticky") -> None:
        self._config = config.kafka
        self._topic = config.kafka.topic_status
        options = {"partition.assignment.strategy": strategy}
        self.consumer = Followed(kafka.consumer(config.kafka, process="batches", **options))
        self._database = database
        self._process = Process("batches")
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None

    def publish(self, each: int) -> None:
        """So many events to each partition."""
        producer = kafka.producer(self._config, client_id="test")
        records = [kafka.Record(self._topic, b"key", b"{}", [], number) for number in range(PARTITIONS)]
        kafka.publish_and_wait(producer, records * each)

    @property
    def partitions(self) -> Collection[int]:
        return self.consumer.owned.copy()

    def lag(self) -> dict[tuple[str, int], int]:
        return lag(self._config, process="batches", topics=[self._topic])

    def __enter__(self) -> BatchConsumer:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._process.stop()
        self._thread.join()
        assert self._error is None

    def _run(self) -> None:
        try:
            consume_batches(
                self._process,
                consumer=self.consumer,  # type: ignore[arg-type]
                topics=[self._topic],
                write=self._database.write,
                away=(DatabaseAway,),
                dead_letters=kafka.producer(self._config, client_id="test"),
                dead_letter_topic=self._config.topic_dead_letter,
                batch=100,
                wait_seconds=0.1,
                config=self._config,
            )
        except BaseException as error:
            self._error = error


def partitions_come_back(config: Config, *, strategy: str, first_back: str) -> None:
    """Two consumers of `consume_batches` share a topic; the second comes while the database of both is away, and goes
    before or after that is back. Raises AssertionError if an event is left unwritten or uncommitted."""
    database = Database()
    first = BatchConsumer(config, database, strategy=strategy)
    first.publish(1)
    with first:
        wait_until(lambda: len(database.written) == PARTITIONS)
        database.is_away = True
        first.publish(1)
        wait_until(lambda: database.refused > 0)
        with BatchConsumer(config, Database(database), strategy=strategy) as second:
            wait_until(lambda: 0 < len(second.partitions) < PARTITIONS)
            wait_until(lambda: len(first.partitions) + len(second.partitions) == PARTITIONS)
            went = set(second.partitions)
            if first_back == "database":
                database.is_away = False
                wait_until(lambda: len(database.written) == 2 * PARTITIONS)
        wait_until(lambda: len(first.partitions) == PARTITIONS)
        database.is_away = False
        wait_until(lambda: len(database.written) == 2 * PARTITIONS)
        first.publish(1)
        wait_until(lambda: len(database.written) == 3 * PARTITIONS)
        wait_until(lambda: sum(first.lag().values()) == 0)
    assert went
