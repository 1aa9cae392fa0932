"""Partitions that just came, with messages of their last owner on overflow lanes: each queue goes on in its order.

The last owner had read the delivery topics up to some offset. What of that is not done it had in memory, and that is
older than what the same queue has on a lane; what is beyond is newer. So first the delivery topics are read up to
there, then something of every lane, and only then what is beyond: by then it shows whose backlog is on which lane.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from confluent_kafka import Message

from apps.sms.delivery.jobs import Job, Partition
from smsgateway.config.kafka import Kafka

log = structlog.get_logger(__name__)

# A lane that cannot be read must not hold up its partition: after so long its order is given up.
_PATIENCE_SECONDS: Final = 10.0

Read = tuple[Job, Message]


class Turn(enum.Enum):
    """When a message may be queued."""

    AT_ONCE = enum.auto()  # the last owner had it in memory: room or not
    AS_USUAL = enum.auto()
    LATER = enum.auto()  # it is kept here


class _Arrival:
    def __init__(self, again: dict[Partition, int], lanes: set[Partition], *, now: float) -> None:
        self.again = again  # delivery topics that are read again, up to these offsets
        self.lanes = frozenset(lanes)  # overflow lanes that brought messages along
        self.silent = lanes  # those of which nothing was read yet
        self.until = now + _PATIENCE_SECONDS
        self.of_lanes: list[Read] = []
        self.newer: list[Read] = []


class Arrivals:
    """Times are seconds of one monotonic clock."""

    def __init__(self, config: Kafka) -> None:
        self._others = [topic for topic in config.delivery_topics if topic not in config.overflow_topics]
        self._arrivals: dict[int, _Arrival] = {}

    def came(self, number: int, known_ends: Mapping[Partition, int], lanes: Iterable[Partition], *, now: float) -> None:
        """These partitions, all of this number, came: `lanes` have messages; up to `known_ends` others were read."""
        if lanes := set(lanes):
            self._arrivals[number] = _Arrival(dict(known_ends), lanes, now=now)

    def given_up(self, numbers: set[int]) -> None:
        """These partitions, by number, are another worker's now."""
        for number in numbers:
            self._arrivals.pop(number, None)

    def turn(self, job: Job, message: Message) -> Turn:
        """When this message, just read, may be queued. One that is kept comes from `due` later."""
        partition, offset = job.place
        arrival = self._arrivals.get(partition.number)
        if arrival is None:
            return Turn.AS_USUAL
        if partition.topic not in self._others:
            arrival.silent.discard(partition)
            if not arrival.again:
                return Turn.AS_USUAL
            arrival.of_lanes.append((job, message))
        elif offset < arrival.again.get(partition, 0):
            return Turn.AT_ONCE
        else:
            arrival.newer.append((job, message))
        return Turn.LATER

    def due(self, *, position: Callable[[Partition], int], unread: set[Partition], now: float) -> list[Read]:
        """What was kept and may be queued now. `position`: the offset a partition is read from next; `unread`: lanes
        that have inherited messages."""
        found: list[Read] = []
        for number, arrival in list(self._arrivals.items()):
            if now >= arrival.until:
                log.warning("overflow_order_given_up", partition=number)
                arrival.again.clear()
                arrival.silent.clear()
            for partition in [partition for partition, end in arrival.again.items() if position(partition) >= end]:
                del arrival.again[partition]
            arrival.silent &= unread
            if not arrival.again:
                found += arrival.of_lanes
                arrival.of_lanes.clear()
                if not arrival.silent:
                    found += arrival.newer
                    del self._arrivals[number]
        return found

    def held(self) -> set[Partition]:
        """Partitions that are not to be read now."""
        found: set[Partition] = set()
        for number, arrival in self._arrivals.items():
            found |= arrival.lanes if arrival.again else {Partition(topic, number) for topic in self._others}
        return found
