"""The worker's side of Kafka: reads deliveries, pauses full partitions, commits what is done.

librdkafka's consumer blocks, so all calls run in one thread of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from apps.sms.delivery.jobs import Partition, Place
from apps.sms.delivery.offsets import PartitionProgress
from apps.sms.delivery.rebalance import LanesDiffer, OwnedPartitions, Release
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
_EXPECTED = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._PARTITION_EOF})

Result = TypeVar("Result")


class _Due(NamedTuple):
    """A commit to make."""

    partition: Partition
    progress: PartitionProgress
    position: int
    metadata: str


class DeliverySource:
    """One consumer of all delivery topics. Methods are called from the event loop's thread.

    It commits all the time, one commit after the other: after a hard kill only messages that ended since the last
    commit are submitted again.
    """

    def __init__(self, config: Kafka, *, assigned: Callable[[set[int]], None], release: Release) -> None:
        """`assigned` is called with the numbers of new partitions. `release` is awaited before partitions are given up:
        it ends or forgets their messages."""
        self._consumer = kafka.consumer(config, process="deliver", on_commit=self._answered, **READ_AHEAD)
        self.partitions = OwnedPartitions(
            config, self._consumer, assigned=assigned, release=release, commit=self._commit_all
        )
        self._unread = UnreadPartitions(config, process="deliver", positions=self._positions)
        self._done: list[Callable[[], None]] = []  # what to call when the next commit is confirmed
        self._in_commit: list[Callable[[], None]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka")
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Join the group. Raises LanesDiffer."""
        await self._call(self.partitions.join)
        self._unread.start()

    async def read(self, *, full: set[Partition]) -> list[Message]:
        """Up to a batch of messages that are not done yet, none from `full` partitions. Commits what is done."""
        # The Kafka thread changes the dict at a rebalance, hence the copies.
        owned = list(self.partitions.progress.items())
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
            progress = self.partitions.progress.get(Partition(str(message.topic()), kafka.partition_of(message)))
            if progress is not None and progress.take(kafka.offset_of(message)):
                taken.append(message)
        return taken

    def finish(self, place: Place, committed: Callable[[], None] | None = None) -> None:
        """Mark the message at this place as done. `committed` is called when the group's offsets include it, or at once
        if its partition was given up: the next owner decides then."""
        progress = self.partitions.progress.get(place.partition)
        if progress is not None:
            progress.finish(place.offset)
            if committed:
                self._done.append(committed)
        elif committed:
            committed()

    async def find_missing_lanes(self) -> None:
        """Use overflow lanes that were missing, as soon as they exist."""
        if self.partitions.lacks_lanes:
            try:
                await self._call(self.partitions.add_lanes)
            except (KafkaException, LanesDiffer) as error:
                log.warning("overflow_lanes_unusable", error=str(error))

    @property
    def paused_count(self) -> int:
        return len(self.partitions.paused)

    @property
    def uncommitted_count(self) -> int:
        return len(self._done) + len(self._in_commit or ())

    async def close(self) -> None:
        """Commit and leave the group. Call it when nothing is in flight any more."""
        await asyncio.to_thread(self._unread.close)
        due = self._due(list(self.partitions.progress.items()))
        await self._call(lambda: self._commit(due))
        await self._call(self._consumer.close)
        await self._call(self.partitions.close)
        self._thread.shutdown()

    def _positions(self) -> dict[tuple[str, int], int]:
        """The next offset of each partition that is not paused; called in another thread."""
        paused = self.partitions.paused.copy()
        owned = list(self.partitions.progress.items())
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
            # Their partitions were given up, which made a commit of its own.
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
        for progress in self.partitions.progress.values():
            progress.has_changed = True

    # What follows runs in the Kafka thread.

    def _pause(self, full: set[Partition]) -> None:
        partitions = self.partitions
        owned = partitions.progress.keys()
        full &= owned
        for action, changed in (
            (self._consumer.pause, full - partitions.paused),
            (self._consumer.resume, (partitions.paused & owned) - full),
        ):
            if changed:
                action([TopicPartition(*partition) for partition in changed])
        partitions.paused = full

    def _commit_all(self, going: set[Partition]) -> None:
        """Commit partitions that are about to be given up."""
        progress = self.partitions.progress
        self._commit([_Due(partition, progress[partition], *progress[partition].to_commit()) for partition in going])

    def _commit(self, due: list[_Due]) -> None:
        # Partitions that were given up since are left out: a commit of ours could take back the next owner's.
        places = [
            TopicPartition(*each.partition, each.position, each.metadata)
            for each in due
            if self.partitions.progress.get(each.partition) is each.progress
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
