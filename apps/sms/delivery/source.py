"""The worker's side of Kafka: reads deliveries, pauses partitions, commits what is done.

librdkafka's consumer blocks, so all calls run in one thread of their own. The rebalance callbacks run in that thread
too, inside `consume`; only they give and take partitions, and meanwhile the loop takes no message from any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from apps.sms.delivery.offsets import PartitionProgress
from apps.sms.delivery.queues import Partition, Place
from smsgateway import kafka

log = structlog.get_logger(__name__)

# How far the client reads ahead of the worker, in messages of a partition and kilobytes of all: what was read of a
# lane goes to the worker before what comes later, however urgent.
READ_AHEAD: Final = {"queued.min.messages": 1000, "queued.max.messages.kbytes": 4096}
_BATCH = 500
_WAIT_SECONDS = 0.05
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
    """One consumer of the delivery lanes. Methods are called from the event loop's thread.

    The group shares out the partitions of the normal lane's topic; whoever has one of them takes the same partition of
    the other lanes too. So all messages of a customer are one worker's, which keeps the customer's pace over all lanes.
    The lanes must therefore have as many partitions.
    """

    def __init__(self, consumer: Consumer, *, lanes: Mapping[str, str], release: Release) -> None:
        """`lanes`: the topic of each priority. `release` is awaited before partitions are given away: it ends or
        forgets their messages."""
        self._consumer = consumer
        self._topic = lanes["normal"]
        self._topics = list(lanes.values())
        self._release = release
        self._progress: dict[Partition, PartitionProgress] = {}
        self._paused: set[Partition] = set()
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
        """Up to a batch of messages that are not done yet; partitions in `full` bring none."""
        # The Kafka thread changes the dict at a rebalance, hence the copies.
        full = full | {partition for partition, progress in list(self._progress.items()) if progress.is_full}

        def consume() -> list[Message]:
            self._pause(full)
            return self._consumer.consume(_BATCH, _WAIT_SECONDS)

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

    def finish(self, place: Place) -> None:
        """The message at this place is done. Of a partition that was given away it is the next owner's to know."""
        if (progress := self._progress.get(place.partition)) is not None:
            progress.finish(place.offset)

    @property
    def paused_count(self) -> int:
        return len(self._paused)

    async def commit(self) -> None:
        """Commit what is done."""
        due = _due(list(self._progress.items()))
        await self._call(lambda: self._commit(due))

    async def close(self) -> None:
        """Commit and leave the group. Nothing is in flight any more."""
        await self.commit()
        await self._call(self._consumer.close)
        self._thread.shutdown()

    async def _call(self, function: Callable[[], Result]) -> Result:
        return await self._loop.run_in_executor(self._thread, function)

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
            self._commit(_due([(partition, self._progress[partition]) for partition in going]))
        for partition in going:
            del self._progress[partition]
        self._paused -= going

    def _of_all_lanes(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(topic, place.partition) for place in partitions for topic in self._topics]

    def _check_lanes(self) -> None:
        counts = {
            topic: len(self._consumer.list_topics(topic, timeout=_FETCH_SECONDS).topics[topic].partitions)
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
            return
        try:
            # Waiting for the answer would stop the reading, and the end of the process, while a broker hangs. One that
            # fails is made good by the next; what a rebalance or the end sends goes out before the partitions do.
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            log.warning("commit_refused", error=str(error))


def _due(progress: Iterable[tuple[Partition, PartitionProgress]]) -> list[_Due]:
    return [_Due(partition, each, *each.to_commit()) for partition, each in progress]
