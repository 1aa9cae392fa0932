"""Overflow lanes: where messages wait that their customer's queue has no room for.

Such a message moves to the end of an overflow lane, and reading of its partition goes on: other customers do not wait
behind one with a million messages. Each lane is a topic with as many partitions as the delivery topics. A partition of
a lane pauses until the queue of its first message has room. Therefore a queue (customer and priority) takes a lane that
no other queue of its partition uses; queues wait for each other only when there are more queues than lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

from confluent_kafka import Message

from apps.sms.delivery.jobs import Job, Partition
from smsgateway import metrics
from smsgateway.kafka import client as kafka

# Assumed for each inherited message while none was read yet: their customers' paces are unknown.
_UNKNOWN_SECONDS: Final = 1.0


class _Key(NamedTuple):
    """A queue. All its messages are in one partition of a delivery topic, and on one lane."""

    number: int
    customer_id: str
    rank: int


class _Queue:
    """A queue with messages on a lane. `count`: how many this process put there and has not read back. If 0, messages
    of another owner were read from the lane, and there may be more."""

    __slots__ = ("count", "lane")

    def __init__(self, lane: Partition) -> None:
        self.lane = lane
        self.count = 0


class _Lane:
    """One partition of a lane. `seconds`: how long this process's messages on it take at their customers' paces;
    `each`: how long the inherited message takes that was read last."""

    __slots__ = ("each", "queues", "seconds")

    def __init__(self) -> None:
        self.queues: dict[_Key, _Queue] = {}
        self.seconds = 0.0
        self.each = _UNKNOWN_SECONDS


class OverflowLanes:
    """Which queues have messages on which lane: later messages must not overtake them.

    This process knows what it put there. Of the messages that an assigned partition inherited it knows the number, and
    the queues of those it has read: such a queue keeps its lane while some of its messages wait in memory.
    """

    def __init__(self, *, inherited: Callable[[Partition], int]) -> None:
        """`inherited`: how many messages of another owner are still to be read from a partition of a lane."""
        self._inherited = inherited
        self._queues: dict[_Key, _Queue] = {}
        self._lanes: dict[Partition, _Lane] = {}
        self._with_inherited: set[Partition] = set()  # lanes from which another owner's messages were read

    def holds(self, job: Job, *, is_waiting: Callable[[], bool]) -> bool:
        """True if messages of its queue are on a lane. `is_waiting` returns True if some wait in memory."""
        queue = self._queues.get(_key(job))
        if queue is None:
            return False
        if queue.count or (self._inherited(queue.lane) and is_waiting()):
            return True
        # Its inherited messages have been read, or stand behind those of others, for which it does not wait.
        self._forget(_key(job), queue)
        return False

    def entered(self, job: Job, lanes: Sequence[str]) -> str:
        """Note that a message goes to a lane. Returns the lane's topic: its queue's lane, or else one of `lanes`."""
        key = _key(job)
        queue = self._queues.get(key)
        if queue is None:
            lane = self._choose([Partition(topic, key.number) for topic in lanes])
            queue = self._add(key, lane)
        queue.count += 1
        self._lanes[queue.lane].seconds += _seconds(job)
        return queue.lane.topic

    def left(self, job: Job, *, is_inherited: bool) -> None:
        """Note that a message was read from a lane. `is_inherited`: it was there when its partition was assigned."""
        key, lane = _key(job), job.place.partition
        queue = self._queues.get(key)
        if is_inherited:
            if queue is None:
                self._add(key, lane)
            if lane in self._lanes:
                self._lanes[lane].each = _seconds(job)
                self._with_inherited.add(lane)
        elif queue is not None and queue.lane == lane and queue.count:
            queue.count -= 1
            self._lanes[lane].seconds -= _seconds(job)
            if not queue.count:
                self._forget(key, queue)

    def may_bring(self, lane: Partition, customer_id: str, rank: int) -> bool:
        """True if more messages of this queue may be on this lane."""
        queue = self._queues.get(_Key(lane.number, customer_id, rank))
        is_there = queue is not None and queue.lane == lane and queue.count > 0
        return is_there or self._inherited(lane) > 0

    def given_up(self, partitions: set[int]) -> None:
        """Forget the partitions with these numbers: another worker owns them now."""
        for key in [key for key in self._queues if key.number in partitions]:
            self._forget(key, self._queues[key])

    def set_metrics(self, unread: set[Partition]) -> None:
        """Set the metrics. `unread`: lanes that have inherited messages."""
        self._forget_read()
        metrics.DELIVERY_OVERFLOW_OCCUPIED.set(len(self._lanes.keys() | unread))
        metrics.DELIVERY_OVERFLOW_SHARED.set(sum(len(lane.queues) > 1 for lane in self._lanes.values()))

    def _choose(self, lanes: Sequence[Partition]) -> Partition:
        """The first empty lane, or else the one with the shortest wait."""
        self._forget_read()
        for lane in lanes:
            if lane not in self._lanes and not self._inherited(lane):
                return lane
        metrics.DELIVERY_OVERFLOW_CROWDED.inc()
        return min(lanes, key=self._wait)

    def _wait(self, partition: Partition) -> float:
        """Seconds until all messages of this lane are sent, at their customers' paces."""
        lane = self._lanes.get(partition)
        inherited = self._inherited(partition)
        if lane is None:
            return inherited * _UNKNOWN_SECONDS
        return lane.seconds + inherited * lane.each

    def _add(self, key: _Key, lane: Partition) -> _Queue:
        queue = self._queues[key] = _Queue(lane)
        self._lanes.setdefault(lane, _Lane()).queues[key] = queue
        return queue

    def _forget(self, key: _Key, queue: _Queue) -> None:
        del self._queues[key]
        lane = self._lanes[queue.lane]
        del lane.queues[key]
        if not lane.queues:
            del self._lanes[queue.lane]
            self._with_inherited.discard(queue.lane)

    def _forget_read(self) -> None:
        """Forget queues that have only inherited messages on a lane, once all inherited messages are read."""
        for partition in [lane for lane in self._with_inherited if not self._inherited(lane)]:
            self._with_inherited.discard(partition)
            for key, queue in list(self._lanes[partition].queues.items()):
                if not queue.count:
                    self._forget(key, queue)


def overflow_record(message: Message, topic: str) -> kafka.Record:
    """The unchanged message for the same partition of this lane, which the same worker reads."""
    headers = cast(list[tuple[str, str | bytes | None]], message.headers() or [])
    value, key = message.value() or b"", message.key() or b""
    return kafka.Record(topic, key, value, headers, kafka.partition_of(message))


def _key(job: Job) -> _Key:
    return _Key(job.place.partition.number, job.message.customer_id, job.rank)


def _seconds(job: Job) -> float:
    """How long the message takes at its customer's pace."""
    return job.message.segments / max(job.message.segments_per_second, 1)
