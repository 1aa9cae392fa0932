"""The worker's side of Kafka: reads deliveries, pauses partitions, commits what is done.

librdkafka's consumer blocks, so all calls run in one thread of their own. The rebalance callbacks run in that thread
too, inside `consume`; only they give and take partitions, and meanwhile the loop takes no message from any.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from apps.sms.delivery.jobs import Partition, Place
from apps.sms.delivery.offsets import PartitionProgress
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.kafka.unread import UnreadPartitions

log = structlog.get_logger(__name__)

# How far the client reads ahead of the worker, in messages of a partition and kilobytes of all: what was read of a
# lane goes to the worker before what comes later, however urgent.
READ_AHEAD: Final = {"queued.min.messages": 1000, "queued.max.messages.kbytes": 4096}
_BATCH = 500
_WAIT_SECONDS = 0.05
_SHORT_WAIT_SECONDS = 0.01  # while commits are due: they go between two reads
_FETCH_SECONDS = 30.0
_ASK_SECONDS = 5.0
_EXPECTED = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._PARTITION_EOF})

Result = TypeVar("Result")
Release = Callable[[set[Partition]], Coroutine[Any, Any, None]]


class LanesDiffer(Exception):
    """The delivery topics do not have as many partitions"""


class _Inherited(NamedTuple):
    """What another owner left on an overflow lane: offsets from `start`, up to but not including `end`."""

    start: int
    end: int


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
        self._config = config
        self._topic = config.delivery_topics[0]
        # The overflow lanes that may be written to: those of the setting that exist.
        self.overflow_topics = config.overflow_topics[:1]
        self._consumer = kafka.consumer(config, process="deliver", on_commit=self._answered, **READ_AHEAD)
        # Asks within a rebalance callback, where the consumer itself may not be asked: list_topics takes away the state
        # that its next callback needs, and the process aborts.
        self._asker = kafka.consumer(config, process="deliver")
        self._assigned_to_us = assigned
        self._release = release
        self._progress: dict[Partition, PartitionProgress] = {}
        self._inherited: dict[Partition, _Inherited] = {}
        self._paused: set[Partition] = set()
        self._unread = UnreadPartitions(config, process="deliver", positions=self._positions)
        self._done: list[Callable[[], None]] = []  # what to call when the next commit is confirmed
        self._in_commit: list[Callable[[], None]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka")
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Join the group. Raises LanesDiffer."""
        await self._call(self._find_topics)
        await self._call(
            lambda: self._consumer.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
        )
        self._unread.start()

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

    def position(self, partition: Partition) -> int:
        """The offset that is read next; of a partition that is not ours, 0."""
        progress = self._progress.get(partition)
        return progress.position if progress else 0

    def known_ends(self, number: int) -> dict[Partition, int]:
        """Of the delivery lanes' partitions with this number: up to where the last owner had read, as far as known."""
        lanes = [Partition(topic, number) for topic in self._config.delivery_lanes.values()]
        return {lane: self._progress[lane].known_end for lane in lanes if lane in self._progress}

    def inherited(self, partition: Partition) -> int:
        """How many messages of another owner are still to be read from this partition of an overflow lane, at most."""
        found = self._inherited.get(partition)
        return max(found.end - max(self.position(partition), found.start), 0) if found else 0

    def is_inherited(self, place: Place) -> bool:
        """A message at this place of an overflow lane stood there when the partition was assigned."""
        found = self._inherited.get(place.partition)
        return found is not None and place.offset < found.end

    def unread_lanes(self) -> set[Partition]:
        """The overflow lanes that have inherited messages."""
        return {partition for partition in list(self._inherited) if self.inherited(partition)}

    async def look_for_lanes(self) -> None:
        """Overflow lanes that were missing are used as soon as they exist."""
        if len(self.overflow_topics) < len(self._config.overflow_topics) and self._progress:
            try:
                await self._call(self._add_lanes)
            except (KafkaException, LanesDiffer) as error:
                log.warning("overflow_lanes_unusable", error=str(error))

    @property
    def paused_count(self) -> int:
        return len(self._paused)

    @property
    def uncommitted_count(self) -> int:
        return len(self._done) + len(self._in_commit or ())

    async def close(self) -> None:
        """Commit and leave the group. Nothing is in flight any more."""
        await asyncio.to_thread(self._unread.close)
        due = self._due(list(self._progress.items()))
        await self._call(lambda: self._commit(due))
        await self._call(self._consumer.close)
        await self._call(self._asker.close)
        self._thread.shutdown()

    def _positions(self) -> dict[tuple[str, int], int]:
        """The next offsets of what is not paused by us; called in another thread."""
        paused = self._paused.copy()
        owned = list(self._progress.items())
        return {partition: progress.position for partition, progress in owned if partition not in paused}

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
        topics = self._find_topics()
        if missing := [topic for topic in self._config.overflow_topics if topic not in topics]:
            log.warning("overflow_lanes_missing", topics=missing, hint="manage.py create_kafka_topics makes them.")
        numbers = {place.partition for place in partitions}
        found = self._take_over_new(topics) + self._take_over(numbers, topics)
        self._loop.call_soon_threadsafe(self._assigned_to_us, numbers)
        self._add(found)
        self._use(topics)
        log.info("partitions_assigned", partitions=sorted(place.partition for place in partitions))

    def _add_lanes(self) -> None:
        topics = self._find_topics()
        if found := self._take_over_new(topics):
            self._add(found)
        self._use(topics)

    def _add(self, places: list[TopicPartition]) -> None:
        """Read these partitions too, from these offsets."""
        self._consumer.incremental_assign(places)
        # The client keeps a pause of ours over a revoke: a partition that comes back would never be read again. The
        # next `read` pauses what is full.
        self._consumer.resume(places)

    def _use(self, topics: Mapping[str, int]) -> None:
        """Every partition of ours has them now."""
        self.overflow_topics = tuple(topic for topic in self._config.overflow_topics if topic in topics)

    def _take_over(self, numbers: set[int], topics: Mapping[str, int]) -> list[TopicPartition]:
        """Learn how far the last owner of these partitions was; the partitions with their offsets."""
        found = self._consumer.committed(
            [TopicPartition(topic, number) for number in numbers for topic in topics], timeout=_FETCH_SECONDS
        )
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        for place in found:
            self._progress[Partition(place.topic, place.partition)] = PartitionProgress(
                metadata=place.metadata or "", position=max(place.offset, 0)
            )
        self._look_for_inherited(found, topics)
        # An explicit offset for those without one: else the client asks again itself, and gives up a partition of a
        # topic that it has not heard of yet.
        return [
            TopicPartition(place.topic, place.partition, place.offset if place.offset >= 0 else OFFSET_BEGINNING)
            for place in found
        ]

    def _take_over_new(self, topics: Mapping[str, int]) -> list[TopicPartition]:
        """The same for the partitions that are ours, of topics that did not exist before."""
        numbers = {partition.number for partition in self._progress}
        read = {partition.topic for partition in self._progress}
        added = {topic: count for topic, count in topics.items() if topic not in read}
        return self._take_over(numbers, added) if numbers and added else []

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(self._give_up(partitions))
        log.info("partitions_revoked", partitions=sorted(place.partition for place in partitions))

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody may have them already: a commit of ours could take its newer one back.
        consumer.incremental_unassign(self._give_up(partitions, commit=False))
        log.warning("partitions_lost", partitions=sorted(place.partition for place in partitions))

    def _give_up(self, partitions: list[TopicPartition], *, commit: bool = True) -> list[TopicPartition]:
        """End what is in flight of them and commit; the partitions, with those of the other topics."""
        numbers = {place.partition for place in partitions}
        going = {partition for partition in self._progress if partition.number in numbers}
        asyncio.run_coroutine_threadsafe(self._release(going), self._loop).result()
        if commit:
            self._commit([_Due(part, self._progress[part], *self._progress[part].to_commit()) for part in going])
        for partition in going:
            del self._progress[partition]
            self._inherited.pop(partition, None)
        self._paused -= going
        return [TopicPartition(*partition) for partition in going]

    def _find_topics(self) -> dict[str, int]:
        """The topics to read, all but overflow lanes that do not exist; how many partitions each has. Raises
        LanesDiffer."""
        known = self._asker.list_topics(timeout=_FETCH_SECONDS).topics
        retired = [topic for topic in self._config.retired_overflow_topics if topic in known]
        counts = {topic: self._count(topic) for topic in (*self._config.delivery_topics, *retired)}
        if len(set(counts.values()) - {0}) > 1:
            raise LanesDiffer(f"{counts}: the delivery topics must have as many partitions; add what is missing.")
        optional = self._config.overflow_topics[1:]
        return {topic: count for topic, count in counts.items() if count or topic not in optional}

    def _count(self, topic: str) -> int:
        """How many partitions it has; 0: it does not exist. Some brokers create it then."""
        return len(self._asker.list_topics(topic, timeout=_FETCH_SECONDS).topics[topic].partitions)

    def _look_for_inherited(self, taken: list[TopicPartition], topics: Mapping[str, int]) -> None:
        """What other owners left on the overflow lanes, of these partitions."""
        lanes = {*self._config.overflow_topics, *self._config.retired_overflow_topics}
        places = [place for place in taken if place.topic in lanes and topics[place.topic]]
        if not places:
            return
        try:
            starts, ends = (
                self._asker.offsets_for_times(
                    [TopicPartition(place.topic, place.partition, bound) for place in places], _ASK_SECONDS
                )
                for bound in (OFFSET_BEGINNING, OFFSET_END)
            )
        except KafkaException as error:
            # They are read all the same, up to the window. But messages of theirs may be overtaken.
            log.warning("overflow_lanes_unknown", error=str(error))
            return
        for start, end in zip(starts, ends, strict=True):
            partition = Partition(end.topic, end.partition)
            first = max(start.offset, self._progress[partition].position)
            if end.error is None and first < end.offset:
                self._inherited[partition] = _Inherited(first, end.offset)

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
