"""The loop of a process that turns Kafka events into rows: read a batch, write it, commit its offsets, in this order.

While the database is down, the batch is kept, its partitions are paused, and the consumer stays in its group. Nothing
is dropped, and nothing is committed that was not written.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from smsgateway import logs, tracing
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.kafka.client import Partition
from smsgateway.kafka.dead_letter_limit import DeadLetterLimit, TooManyDeadLetters
from smsgateway.kafka.unread import UnreadPartitions
from smsgateway.metrics import EVENTS_UNREADABLE
from smsgateway.process import Process

log = structlog.get_logger(__name__)

_EXPECTED = frozenset({KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_TROUBLE_SECONDS = 1.0
_POSITIONS_SECONDS = 1.0


class Commits(Protocol):
    """Decides which offsets are committed when, for a `write` that is not finished when it returns."""

    def written(self, messages: list[Message]) -> None:
        """`write` has returned, and the events that it could not use are dead letters."""

    def ready(self) -> list[TopicPartition]:
        """The offsets that may be committed now. Called in each round."""

    def forget(self, partitions: set[Partition]) -> None:
        """Commit nothing more of these partitions: another consumer owns them, and starts at the committed offsets."""

    def finish(self) -> list[TopicPartition]:
        """The last offsets to commit: the process was asked to stop."""


def consume_batches(
    process: Process,
    *,
    consumer: Consumer,
    topics: Sequence[str],
    write: Callable[[list[Message]], list[tuple[Message, str]]],
    away: tuple[type[Exception], ...],
    dead_letters: Producer,
    dead_letter_topic: str,
    batch: int,
    wait_seconds: float,
    each_round: Callable[[], None] | None = None,
    commits: Commits | None = None,
    config: Kafka | None = None,
) -> None:
    """Consume until the process is asked to stop, then leave the group. `each_round` is called between two batches.

    `write` makes a batch durable and returns the events it cannot use, each with the reason: they go to the dead
    letters. It raises one of `away` while its database does not answer, and is called again with the same batch, less
    what went to another consumer meanwhile. A batch is committed at once unless `commits` says when. With `config`
    partitions that bring nothing although they have messages are measured (see `smsgateway.kafka.unread`).

    A batch without any usable event that would pass `config.dead_letter_limit` is kept like one whose database is away:
    nothing of it is published or committed, and nothing more is read, until `write` can use one of its events.
    """
    group = _Group(consumer, topics, commits)
    unread = UnreadPartitions(config, process=process.name, positions=group.positions) if config else None
    limit = DeadLetterLimit(process=process.name, limit=config.dead_letter_limit if config else 0)
    if unread:
        unread.start()
    try:
        while not process.stopping.is_set():
            process.beat()
            if each_round:
                each_round()
            messages = group.read(batch, wait_seconds)
            written = bool(messages) and _written(
                process, group, messages, write, away, dead_letters, dead_letter_topic, limit
            )
            if commits:
                if written:
                    commits.written(messages)
                offsets = commits.ready()
            else:
                offsets = kafka.next_offsets(messages) if written else []
            group.commit(offsets)
            del messages  # a large batch must not stay in memory while the next one is read
        if commits:
            group.commit(commits.finish())
    finally:
        if unread:
            unread.close()
        consumer.close()


class _Group:
    """The consumer in its group: its partitions, their pauses and commits."""

    def __init__(self, consumer: Consumer, topics: Sequence[str], commits: Commits | None) -> None:
        self.consumer = consumer
        self._commits = commits
        self._is_paused = False
        self._positions: dict[Partition, int] = {}  # of every partition of ours
        self._asked_at = float("-inf")
        self._left: set[Partition] = set()
        self._refused: dict[Partition, TopicPartition] = {}
        consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._gone, on_lost=self._gone)

    @kafka.rebalance_callback
    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The client keeps a pause over a revoke: a partition that was revoked while the database was down would never
        # be read again when it comes back. If the database is still down, it is paused again.
        consumer.resume(partitions)
        self._positions |= {(place.topic, place.partition): -1 for place in partitions}

    def _gone(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = {(place.topic, place.partition) for place in partitions}
        self._left |= places
        for place in places:
            self._positions.pop(place, None)
            self._refused.pop(place, None)
        if self._commits:
            self._commits.forget(places)

    def read(self, count: int, seconds: float) -> list[Message]:
        """Read up to `count` messages. The client itself drops those of a partition that is revoked meanwhile."""
        messages = [message for message in self.consumer.consume(count, seconds) if _usable(message)]
        self._left.clear()
        if self._positions and (now := time.monotonic()) - self._asked_at >= _POSITIONS_SECONDS:
            self._asked_at = now
            for place in self.consumer.position([TopicPartition(*place) for place in self._positions]):
                self._positions[place.topic, place.partition] = place.offset
        return messages

    def pause(self) -> None:
        """Pause reading. Call it again after each poll: another partition may have been assigned."""
        self._is_paused = True
        self.consumer.pause(self.consumer.assignment())

    def resume(self) -> None:
        self.consumer.resume(self.consumer.assignment())
        self._is_paused = False

    def positions(self) -> dict[Partition, int]:
        """The next offset of each partition that is not paused. Called in another thread."""
        return {} if self._is_paused else self._positions.copy()

    def without_left(self, messages: list[Message]) -> list[Message]:
        """Remove messages of partitions that were revoked after reading: the next owner reads them again, and a commit
        of ours could take back its newer one."""
        left, self._left = self._left, set()
        if not left:
            return messages
        return [message for message in messages if (str(message.topic()), kafka.partition_of(message)) not in left]

    def commit(self, offsets: list[TopicPartition]) -> None:
        """Commit these offsets, and those that were refused before.

        Commits during a rebalance are refused. If the partition moved to another consumer, that one reads the events
        again, and writing them twice changes nothing. If it stayed, its events are not read again: without another try
        the group would seem to lag until the next event comes.
        """
        places = self._refused
        if places:
            ours = {(place.topic, place.partition) for place in self.consumer.assignment()}
            places = {where: place for where, place in places.items() if where in ours}
        places = places | {(place.topic, place.partition): place for place in offsets}
        if not places:
            self._refused = {}
            return
        try:
            self.consumer.commit(offsets=list(places.values()), asynchronous=False)
        except KafkaException as error:
            if not self._refused:
                log.warning("commit_refused", error=str(error))
            self._refused = places
        else:
            self._refused = {}


def _usable(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.fatal():
        raise KafkaException(error)
    # A topic that nobody has written to yet does not exist yet.
    level = log.debug if error.code() in _EXPECTED else log.warning
    level("kafka_error", error=error.str())
    return False


def _written(
    process: Process,
    group: _Group,
    messages: list[Message],
    write: Callable[[list[Message]], list[tuple[Message, str]]],
    away: tuple[type[Exception], ...],
    dead_letters: Producer,
    dead_letter_topic: str,
    limit: DeadLetterLimit,
) -> bool:
    """Write the batch, however long it takes; False if the process was asked to stop before. Afterwards `messages` has
    what was written."""
    waiting = False
    since = time.time_ns()
    retried: tuple[type[Exception], ...] = (*away, kafka.KafkaUnavailable, TooManyDeadLetters)
    while True:
        try:
            unusable = write(messages)
            if unusable:
                limit.check(events=len(messages), unusable=len(unusable), reason=unusable[0][1])
                letters = [kafka.dead_letter(dead_letter_topic, *letter) for letter in unusable]
                kafka.publish_and_wait(dead_letters, letters)
                log.error("dead_letters", count=len(unusable), reason=unusable[0][1])
                for topic, count in Counter(message.topic() for message, _ in unusable).items():
                    EVENTS_UNREADABLE.labels(topic).inc(count)
            limit.count(events=len(messages), unusable=len(unusable))
        except retried as error:
            if not waiting:
                log.error("writing_waits", process=process.name, error=str(error).strip())
            waiting = True
            process.beat()
            group.pause()
            # The call keeps the consumer in its group.
            late = group.consumer.poll(_TROUBLE_SECONDS)
            messages[:] = group.without_left(messages)
            if late is not None and _usable(late):
                messages.append(late)
            if process.stopping.is_set():
                return False
            continue
        if logs.at_debug() or tracing.is_on:
            _log_each(process.name, messages, since)
        if waiting:
            group.resume()
            log.info("writing_goes_on", process=process.name)
        return True


class _About(msgspec.Struct):
    message_id: str = ""
    type: str = ""


def _log_each(process: str, messages: Sequence[Message], since: int) -> None:
    for message in messages:
        try:
            about = msgspec.json.decode(message.value() or b"{}", type=_About)
        except (ValueError, RecursionError):
            continue  # it is a dead letter, which was logged
        details = {"topic": str(message.topic()), "type": about.type, "request_id": kafka.request_id_of(message)}
        log.debug("event_written", message_id=about.message_id, **details)
        if tracing.is_on:
            tracing.span(process, [about.message_id], since=since, attributes=details)
