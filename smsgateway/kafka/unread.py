"""Finds assigned partitions that have messages, but from which nothing is read.

Lag alone does not show them: a group may lag by design, and a consumer that reads nothing has no error to report. So
this asks the brokers where each partition ends, and compares that with the position of reading.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException, TopicPartition

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.kafka.client import Partition
from smsgateway.metrics import CONSUMER_UNREAD

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 5.0


class UnreadPartitions:
    """Sets `consumer_unread_seconds` of one consumer, every few seconds, in a thread of its own.

    The time of a partition starts when it is first seen with messages beyond its position, and ends when the position
    changes.
    """

    def __init__(self, config: Kafka, *, process: str, positions: Callable[[], Mapping[Partition, int]]) -> None:
        """`process`: its consumer group. `positions`: the next offset of each assigned partition, or below zero if
        nothing was read since it was assigned. Partitions that are paused on purpose are left out. Called in the
        thread."""
        # A client of its own: waiting for answers must not stop the reading. And the consumer may hang if a second
        # thread calls it during a rebalance.
        self._asker = kafka.consumer(config, process=process)
        self._read = positions
        self._since: dict[Partition, tuple[int, float]] = {}
        self._topics: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="unread-partitions", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop measuring."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._asker.close()
        self._show({})

    def look(self, *, now: float) -> None:
        """Measure once. `now`: seconds of a monotonic clock. Raises KafkaException if no broker answers."""
        positions = self._positions()
        ends = self._offsets(positions, OFFSET_END)
        behind = {place for place, end in ends.items() if end > positions[place]}
        # Events that retention has deleted cannot be read.
        starts = self._offsets(behind, OFFSET_BEGINNING)
        waiting = {place for place in behind if ends[place] > starts.get(place, 0)}
        seen = self._since
        self._since = {}
        for place in waiting:
            position, since = seen.get(place, (positions[place], now))
            self._since[place] = (position, since) if position == positions[place] else (positions[place], now)
        self._show({place: now - since for place, (_, since) in self._since.items()})

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look(now=time.monotonic())
            except KafkaException as error:
                log.warning("unread_unknown", error=str(error))
            except Exception:
                # A fault here must not end the measurement.
                log.exception("unread_failed")

    def _positions(self) -> dict[Partition, int]:
        found = dict(self._read())
        fresh = [TopicPartition(*place) for place, position in found.items() if position < 0]
        if fresh:
            for place in self._asker.committed(fresh, timeout=_ANSWER_SECONDS):
                found[place.topic, place.partition] = max(place.offset, 0)
        return found

    def _offsets(self, places: Collection[Partition], bound: int) -> dict[Partition, int]:
        """The offsets where these partitions begin or end. Those whose leader does not answer are left out."""
        if not places:
            return {}
        asked = [TopicPartition(*place, bound) for place in places]
        found = self._asker.offsets_for_times(asked, _ANSWER_SECONDS)
        return {(place.topic, place.partition): place.offset for place in found if place.error is None}

    def _show(self, seconds: dict[Partition, float]) -> None:
        longest = dict.fromkeys(self._topics, 0.0)
        for (topic, _), each in seconds.items():
            longest[topic] = max(longest.get(topic, 0.0), each)
        self._topics |= longest.keys()
        for topic, value in longest.items():
            CONSUMER_UNREAD.labels(topic).set(value)
