"""The worker's side of Kafka: reads deliveries, pauses partitions, commits what is done.

librdkafka's consumer blocks, so all calls run in one thread of their own. The rebalance callbacks run in that thread
too, inside `consume`; only they give and take partitions, and meanwhile the loop takes no message from any.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from apps.sms.delivery.jobs import Partition, Place
from apps.sms.delivery.offsets import PartitionProgress
from smsgateway import kafka
from smsgateway.config.groups import Kafka

log = structlog.get_logger(__name__)

# How far the client reads ahead of the worker, in messages of a partition and kilobytes of all: what was read of a
# lane goes to the worker before what comes later, however urgent.
READ_AHEAD: Final = {"queued.min.messages": 1000, "queued.max.messages.kbytes": 4096}
_BATCH = 500
_WAIT_SECONDS = 0.05
_SHORT_WAIT_SECONDS = 0.01  # while commits are due: they go between two reads
_FETCH_SECONDS = 30.0
_EXPECTED = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._PARTITION_EOF})

Result = TypeVar("Result")
Release = Callable[[set[Partition]], Coroutine[Any, Any, None]]


class LanesDiffer(Exception):
    """The delivery topics do not have as many partitions"""


class _Due(NamedTuple):
    """A commit to make."""

    partition: Partition
    progress: PartitionProgress
    position: int
    metadata: str


class DeliverySource:
    """One consumer of all delivery topics. Methods are called from the event loop's thread.

    The group shares out the partitions of the first topic; whoever has one of them takes the same partition of the
    others too. So all messages of a customer are one worker's, which keeps the customer's pace over all of them. The
    topics must therefore have as many partitions.

    What is done is committed all the time, one commit after the other: after a hard kill only what was done since the
    last one is submitted again.
    """

    def __init__(self, config: Kafka, *, assigned: Callable[[set[int]], None], release: Release) -> None:
        """`assigned` is told the numbers of the partitions that came. `release` is awaited before partitions are given
        away: it ends or forgets their messages."""
        self._topic, *_ = self._topics = config.delivery_topics
        self._consumer = kafka.consumer(config, process="deliver", on_commit=self._answered, **READ_AHEAD)
        # Asks within a rebalance callback, where the consumer itself may not be asked: list_topics takes away the state
        # that its next callback needs, and the process aborts.
        self._asker = kafka.consumer(config, process="deliver")
        self._assigned_to_us = assigned
        self._release = release
        self._progress: dict[Partition, PartitionProgress] = {}
        self._paused: set[Partition] = set()
        self._done: list[Callable[[], None]] = []  # what to call when the next commit is confirmed
        self._in_commit: list[Callable[[], None]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka")
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Join the group. Raises LanesDiffer."""
        await self._call(self._check_lanes)
        await self._call(
            lambda: self._consumer.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
        )

    async def read(self, *, full: set[Partition]) -> list[Message]:
        """Up to a batch of messages that are not done yet; partitions in `full` bring none. Commits what is done."""
        # The Kafka thread changes the dict at a rebalance, hence the copies.
        owned = list(self._progress.items())
        full = full | {partition for partition, progress in owned if progress.is_full}
        due = self._due(owned) if self._in_commit is None else []
        wait = _WAIT_SECONDS if self._in_commit is None and not self._done else _SHORT_WAIT_SECONDS

        def consume() -> list[Message]:
            self._pause(full)
            self._commit(due)
            return self._consumer.consume(_BATCH, wait)

        taken = []
        for message in await self._call(consume):
            if (error := message.error()) is not None:
                if error.fatal():
                    raise KafkaException(error)
                # A topic that nobody has written to yet does not exist yet.
                level = log.debug if error.code() in _EXPECTED else log.warning
                level("kafka_error", error=error.str())
                continue
            progress = self._progress.get(Partition(str(message.topic()), kafka.partition_of(message)))
            if progress is not None and progress.take(kafka.offset_of(message)):
                taken.append(message)
        return taken

    def finish(self, place: Place, committed: Callable[[], None] | None = None) -> None:
        """The message at this place is done; `committed` is called when the group's offsets say so.

        Of a partition that was given away it is the next owner's to know.
        """
        progress = self._progress.get(place.partition)
        if progress is not None:
            progress.finish(place.offset)
            if committed:
                self._done.append(committed)
        elif committed:
            committed()

    @property
    def paused_count(self) -> int:
        return len(self._paused)

    @property
    def uncommitted_count(self) -> int:
        return len(self._done) + len(self._in_commit or ())

    async def close(self) -> None:
        """Commit and leave the group. Nothing is in flight any more."""
        due = self._due(list(self._progress.items()))
        await self._call(lambda: self._commit(due))
        await self._call(self._consumer.close)
        await self._call(self._asker.close)
        self._thread.shutdown()

    async def _call(self, function: Callable[[], Result]) -> Result:
        return await self._loop.run_in_executor(self._thread, function)

    def _due(self, owned: Iterable[tuple[Partition, PartitionProgress]]) -> list[_Due]:
        """The commits to make now; from here on they are under way."""
        due = []
        for partition, progress in owned:
            if progress.has_changed:
                progress.has_changed = False
                due.append(_Due(partition, progress, *progress.to_commit()))
        if due:
            self._in_commit = [*(self._in_commit or ()), *self._done]
            self._done = []
        elif self._done and self._in_commit is None:
            # They are of partitions that were given away, with a commit of their own.
            self._in_commit, self._done = self._done, []
            self._commit_ended(None)
        return due

    def _commit_ended(self, error: str | None) -> None:
        ended, self._in_commit = self._in_commit or [], None
        if error is None:
            for committed in ended:
                committed()
            return
        log.warning("commit_refused", error=error)
        self._done = ended + self._done
        for progress in self._progress.values():
            progress.has_changed = True

    # What follows runs in the Kafka thread.

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._check_lanes()
        found = consumer.committed(self._of_all_lanes(partitions), timeout=_FETCH_SECONDS)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
            position = max(place.offset, 0)
            self._progress[Partition(place.topic, place.partition)] = PartitionProgress(
                metadata=place.metadata or "", position=position
            )
        numbers = {place.partition for place in partitions}
        self._loop.call_soon_threadsafe(self._assigned_to_us, numbers)
        consumer.incremental_assign(found)
        log.info("partitions_assigned", partitions=sorted(place.partition for place in partitions))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up(partitions)
        consumer.incremental_unassign(self._of_all_lanes(partitions))
        log.info("partitions_revoked", partitions=sorted(place.partition for place in partitions))

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody may have them already: a commit of ours could take its newer one back.
        self._give_up(partitions, commit=False)
        consumer.incremental_unassign(self._of_all_lanes(partitions))
        log.warning("partitions_lost", partitions=sorted(place.partition for place in partitions))

    def _give_up(self, partitions: list[TopicPartition], *, commit: bool = True) -> None:
        going = {Partition(place.topic, place.partition) for place in self._of_all_lanes(partitions)}
        going &= self._progress.keys()
        asyncio.run_coroutine_threadsafe(self._release(going), self._loop).result()
        if commit:
            self._commit([_Due(part, self._progress[part], *self._progress[part].to_commit()) for part in going])
        for partition in going:
            del self._progress[partition]
        self._paused -= going

    def _of_all_lanes(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(topic, place.partition) for place in partitions for topic in self._topics]

    def _check_lanes(self) -> None:
        counts = {
            topic: len(self._asker.list_topics(topic, timeout=_FETCH_SECONDS).topics[topic].partitions)
            for topic in self._topics
        }
        if len(set(counts.values()) - {0}) > 1:
            raise LanesDiffer(f"{counts}: the delivery topics must have as many partitions; add what is missing.")

    def _pause(self, full: set[Partition]) -> None:
        owned = self._progress.keys()
        full &= owned
        for action, partitions in (
            (self._consumer.pause, full - self._paused),
            (self._consumer.resume, (self._paused & owned) - full),
        ):
            if partitions:
                action([TopicPartition(*partition) for partition in partitions])
        self._paused = full

    def _commit(self, due: list[_Due]) -> None:
        # What was given away since is left out: a commit of ours could take the next owner's back.
        places = [
            TopicPartition(*each.partition, each.position, each.metadata)
            for each in due
            if self._progress.get(each.partition) is each.progress
        ]
        if not places:
            if due:
                self._loop.call_soon_threadsafe(self._commit_ended, None)
            return
        try:
            # Waiting for the answer would stop the reading, and the end of the process, while a broker hangs. What a
            # rebalance or the end sends goes out before the partitions do.
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            self._loop.call_soon_threadsafe(self._commit_ended, str(error))

    def _answered(self, error: KafkaError | None, _partitions: list[TopicPartition]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._commit_ended, None if error is None else error.str())
