"""The order of messages in partitions that were just taken over, with messages of their last owner on overflow lanes.

The last owner had read the delivery topics up to some offset. Its unfinished messages up to there were in its memory:
they are older than the messages of the same queue on a lane. Messages beyond that offset are newer. So a new owner
first reads the delivery topics up to there, then something of every lane, and only then what is beyond: by then it
knows whose backlog is on which lane.
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

# A lane that cannot be read must not hold up its partition: after this time its order is given up.
_PATIENCE_SECONDS: Final = 10.0

Read = tuple[Job, Message]


class Turn(enum.Enum):
    """When a message may be queued."""

    AT_ONCE = enum.auto()  # the last owner had it in memory: its queue takes it even if it is full
    AS_USUAL = enum.auto()
    LATER = enum.auto()  # it is kept here


class _Takeover:
    def __init__(self, again: dict[Partition, int], lanes: set[Partition], *, now: float) -> None:
        self.again = again  # delivery topics that are read again, up to these offsets
        self.lanes = frozenset(lanes)  # overflow lanes that brought messages along
        self.silent = lanes  # those of which nothing was read yet
        self.until = now + _PATIENCE_SECONDS
        self.of_lanes: list[Read] = []
        self.newer: list[Read] = []


class Takeovers:
    """The partitions whose takeover is not finished. Times are seconds of one monotonic clock."""

    def __init__(self, config: Kafka) -> None:
        self._others = [topic for topic in config.delivery_topics if topic not in config.overflow_topics]
        self._takeovers: dict[int, _Takeover] = {}

    def assigned(
        self, number: int, known_ends: Mapping[Partition, int], lanes: Iterable[Partition], *, now: float
    ) -> None:
        """The partitions with this number are ours now. `lanes`: those with inherited messages; `known_ends`: how far
        the last owner had read the delivery topics."""
        if lanes := set(lanes):
            self._takeovers[number] = _Takeover(dict(known_ends), lanes, now=now)

    def given_up(self, numbers: set[int]) -> None:
        """The partitions with these numbers belong to another worker now."""
        for number in numbers:
            self._takeovers.pop(number, None)

    def turn(self, job: Job, message: Message) -> Turn:
        """When this message, just read, may be queued. `due` returns it later if it is kept."""
        partition, offset = job.place
        takeover = self._takeovers.get(partition.number)
        if takeover is None:
            return Turn.AS_USUAL
        if partition.topic not in self._others:
            takeover.silent.discard(partition)
            if not takeover.again:
                return Turn.AS_USUAL
            takeover.of_lanes.append((job, message))
        elif offset < takeover.again.get(partition, 0):
            return Turn.AT_ONCE
        else:
            takeover.newer.append((job, message))
        return Turn.LATER

    def due(self, *, position: Callable[[Partition], int], unread: set[Partition], now: float) -> list[Read]:
        """The kept messages that may be queued now. `position`: the offset that a partition is read from next;
        `unread`: lanes that still have inherited messages."""
        found: list[Read] = []
        for number, takeover in list(self._takeovers.items()):
            if now >= takeover.until:
                log.warning("overflow_order_given_up", partition=number)
                takeover.again.clear()
                takeover.silent.clear()
            for partition in [partition for partition, end in takeover.again.items() if position(partition) >= end]:
                del takeover.again[partition]
            takeover.silent &= unread
            if not takeover.again:
                found += takeover.of_lanes
                takeover.of_lanes.clear()
                if not takeover.silent:
                    found += takeover.newer
                    del self._takeovers[number]
        return found

    def held(self) -> set[Partition]:
        """Partitions that must not be read now."""
        found: set[Partition] = set()
        for number, takeover in self._takeovers.items():
            found |= takeover.lanes if takeover.again else {Partition(topic, number) for topic in self._others}
        return found
