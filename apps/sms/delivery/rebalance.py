"""The partitions that a worker owns, and the rebalances that change them.

The callbacks of a rebalance, and everything marked so, run in the Kafka thread, inside `consume`. Only they add and
remove partitions; meanwhile nothing is read from any partition. The event loop's thread reads the rest at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from apps.sms.delivery.jobs import Partition, Place
from apps.sms.delivery.lost_offsets import LostOffsets
from apps.sms.delivery.offsets import PartitionProgress
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka

log = structlog.get_logger(__name__)

_METADATA_SECONDS: Final = 30.0
_OFFSETS_SECONDS: Final = 5.0
_COMMITTED_SECONDS: Final = 15.0

Release = Callable[[set[Partition]], Coroutine[Any, Any, None]]


class LanesDiffer(Exception):
    """The delivery topics do not have as many partitions"""


class _Inherited(NamedTuple):
    """What another owner left on an overflow lane: offsets from `start`, up to but not including `end`."""

    start: int
    end: int


class OwnedPartitions:
    """The partitions of this worker, and how far each was read.

    The group shares out the partitions of the first delivery topic. The owner of one takes the partition with the same
    number of every other delivery topic too, so the topics must have as many partitions. All messages of a customer are
    therefore one worker's, which keeps the customer's pace over all of them.
    """

    def __init__(
        self,
        config: Kafka,
        consumer: Consumer,
        *,
        assigned: Callable[[set[int]], None],
        release: Release,
        commit: Callable[[set[Partition]], None],
    ) -> None:
        """`assigned` is called in the event loop with the numbers of new partitions. `release` is awaited there before
        partitions are given up: it ends or forgets their messages. Then `commit` is called in the Kafka thread."""
        self._config = config
        self._consumer = consumer
        self._on_assigned = assigned
        self._release = release
        self._commit = commit
        self._loop = asyncio.get_running_loop()
        # Answers questions within a rebalance callback. The consumer itself must not be asked there: list_topics takes
        # away the state that its next callback needs, and the process aborts.
        self._asker = kafka.consumer(config, process="deliver")
        self.progress: dict[Partition, PartitionProgress] = {}
        self.paused: set[Partition] = set()
        self._inherited: dict[Partition, _Inherited] = {}
        self.lost_offsets = LostOffsets(config)
        # The overflow lanes that may be written to: those of the setting that exist.
        self.overflow_topics = config.overflow_topics[:1]

    def position(self, partition: Partition) -> int:
        """The offset that is read next; 0 for a partition of another worker."""
        progress = self.progress.get(partition)
        return progress.position if progress else 0

    def known_ends(self, number: int) -> dict[Partition, int]:
        """How far the last owner had read the delivery topics' partitions with this number, as far as known."""
        lanes = [Partition(topic, number) for topic in self._config.delivery_lanes.values()]
        return {lane: self.progress[lane].known_end for lane in lanes if lane in self.progress}

    def inherited(self, partition: Partition) -> int:
        """How many messages of another owner are still to be read from this partition of an overflow lane, at most."""
        found = self._inherited.get(partition)
        return max(found.end - max(self.position(partition), found.start), 0) if found else 0

    def is_inherited(self, place: Place) -> bool:
        """True for a message that stood on an overflow lane before the partition was assigned."""
        found = self._inherited.get(place.partition)
        return found is not None and place.offset < found.end

    def unread_lanes(self) -> set[Partition]:
        """The overflow lanes that still have inherited messages."""
        return {partition for partition in list(self._inherited) if self.inherited(partition)}

    @property
    def lacks_lanes(self) -> bool:
        """An overflow lane of the setting does not exist yet."""
        return len(self.overflow_topics) < len(self._config.overflow_topics) and bool(self.progress)

    # What follows runs in the Kafka thread.

    def join(self) -> None:
        """Join the group. Raises LanesDiffer."""
        self._find_topics()
        self._consumer.subscribe(
            [self._config.delivery_topics[0]],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )

    def add_lanes(self) -> None:
        """Use overflow lanes that were missing and exist now. Raises KafkaException, LanesDiffer."""
        topics = self._find_topics()
        if found := self._take_over_new(topics):
            self._read_from(found)
        self._use_lanes(topics)

    def close(self) -> None:
        self._asker.close()

    @kafka.rebalance_callback
    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        topics = self._find_topics()
        if missing := [topic for topic in self._config.overflow_topics if topic not in topics]:
            log.warning("overflow_lanes_missing", topics=missing, hint="manage.py create_kafka_topics makes them.")
        numbers = {place.partition for place in partitions}
        found = self._take_over_new(topics) + self._take_over(numbers, topics)
        self._loop.call_soon_threadsafe(self._on_assigned, numbers)
        self._read_from(found)
        self._use_lanes(topics)
        log.info("partitions_assigned", partitions=sorted(numbers))

    @kafka.rebalance_callback
    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(self._give_up(partitions))
        log.info("partitions_revoked", partitions=sorted(place.partition for place in partitions))

    @kafka.rebalance_callback
    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Another worker may own them already: a commit of ours could take back its newer one.
        consumer.incremental_unassign(self._give_up(partitions, commit=False))
        log.warning("partitions_lost", partitions=sorted(place.partition for place in partitions))

    def _read_from(self, places: list[TopicPartition]) -> None:
        """Read these partitions too, from these offsets."""
        self._consumer.incremental_assign(places)
        # The client keeps a pause over a revoke: a partition that comes back would never be read again. The next read
        # pauses those that are full.
        self._consumer.resume(places)

    def _use_lanes(self, topics: Mapping[str, int]) -> None:
        """Write to the overflow lanes among these topics: every partition of ours reads them now."""
        self.overflow_topics = tuple(topic for topic in self._config.overflow_topics if topic in topics)

    def _take_over(self, numbers: set[int], topics: Mapping[str, int]) -> list[TopicPartition]:
        """Own the partitions with these numbers, from where their last owner stopped; return them with their offsets.

        Raises KafkaException, OffsetsLost.
        """
        found = self._committed([TopicPartition(topic, number) for number in numbers for topic in topics])
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        self.lost_offsets.take_over([Partition(place.topic, place.partition) for place in found if place.offset < 0])
        for place in found:
            self.progress[Partition(place.topic, place.partition)] = PartitionProgress(
                metadata=place.metadata or "", position=max(place.offset, 0)
            )
        self._find_inherited(found, topics)
        # Partitions without a commit get an explicit offset. Without one the client would ask again itself, and give up
        # a partition whose topic it does not know yet.
        return [
            TopicPartition(place.topic, place.partition, place.offset if place.offset >= 0 else OFFSET_BEGINNING)
            for place in found
        ]

    def _committed(self, places: list[TopicPartition]) -> list[TopicPartition]:
        """The group's offsets of these partitions. A second client asks again if the first has no answer in time.

        Raises KafkaException.
        """
        try:
            return self._consumer.committed(places, timeout=_COMMITTED_SECONDS)
        except KafkaException as error:
            log.warning("committed_offsets_late", error=str(error))
        return self._asker.committed(places, timeout=_COMMITTED_SECONDS)

    def _take_over_new(self, topics: Mapping[str, int]) -> list[TopicPartition]:
        """The same for topics that did not exist before, with the numbers that are ours already."""
        numbers = {partition.number for partition in self.progress}
        known = {partition.topic for partition in self.progress}
        added = {topic: count for topic, count in topics.items() if topic not in known}
        return self._take_over(numbers, added) if numbers and added else []

    def _give_up(self, partitions: list[TopicPartition], *, commit: bool = True) -> list[TopicPartition]:
        """End their messages in flight, and commit. Returns them with the same partitions of the other topics."""
        numbers = {place.partition for place in partitions}
        going = {partition for partition in self.progress if partition.number in numbers}
        asyncio.run_coroutine_threadsafe(self._release(going), self._loop).result()
        if commit:
            self._commit(going)
        for partition in going:
            del self.progress[partition]
            self._inherited.pop(partition, None)
        self.paused -= going
        self.lost_offsets.forget(going)
        return [TopicPartition(*partition) for partition in going]

    def _find_topics(self) -> dict[str, int]:
        """The topics to read, with their numbers of partitions; overflow lanes that do not exist are left out.

        Raises LanesDiffer.
        """
        known = self._asker.list_topics(timeout=_METADATA_SECONDS).topics
        retired = [topic for topic in self._config.retired_overflow_topics if topic in known]
        counts = {topic: self._count(topic) for topic in (*self._config.delivery_topics, *retired)}
        if len(set(counts.values()) - {0}) > 1:
            raise LanesDiffer(f"{counts}: the delivery topics must have as many partitions; add what is missing.")
        optional = self._config.overflow_topics[1:]
        return {topic: count for topic, count in counts.items() if count or topic not in optional}

    def _count(self, topic: str) -> int:
        """How many partitions the topic has; 0 if it does not exist. Some brokers create it then."""
        return len(self._asker.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic].partitions)

    def _find_inherited(self, taken: list[TopicPartition], topics: Mapping[str, int]) -> None:
        """Note what other owners left on the overflow lanes of these partitions."""
        lanes = {*self._config.overflow_topics, *self._config.retired_overflow_topics}
        places = [place for place in taken if place.topic in lanes and topics[place.topic]]
        if not places:
            return
        try:
            starts, ends = (
                self._asker.offsets_for_times(
                    [TopicPartition(place.topic, place.partition, bound) for place in places], _OFFSETS_SECONDS
                )
                for bound in (OFFSET_BEGINNING, OFFSET_END)
            )
        except KafkaException as error:
            # The lanes are read all the same. But later messages may overtake those that stand there.
            log.warning("overflow_lanes_unknown", error=str(error))
            return
        for start, end in zip(starts, ends, strict=True):
            partition = Partition(end.topic, end.partition)
            first = max(start.offset, self.progress[partition].position)
            if end.error is None and first < end.offset:
                self._inherited[partition] = _Inherited(first, end.offset)
