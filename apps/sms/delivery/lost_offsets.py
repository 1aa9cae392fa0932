"""Finds out which messages were submitted already, when the group's offsets are lost.

Without offsets a partition is read from its beginning: days of messages, most of them sent long ago. The status topic
knows those that were submitted or have ended, and the topic of held messages those that PostgreSQL keeps. Both are read
before the first message is. If they are too long for a worker's memory, it stops: `manage.py recover --offsets` asks
PostgreSQL instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final

import structlog

from apps.sms import events, statuses
from apps.sms.delivery.jobs import Partition, Place
from smsgateway import metrics
from smsgateway.config.kafka import Kafka
from smsgateway.kafka.ranges import Range, RangeReader

log = structlog.get_logger(__name__)

LIMIT: Final = 1_000_000
# The clocks of producers differ, and a status follows its work order.
_EARLIER_MS: Final = 600_000


class OffsetsLost(Exception):
    """The offsets of the delivery workers are lost, and days of messages might be sent again"""


class LostOffsets:
    """What is known of messages in partitions that had no committed offset when they were assigned.

    `take_over` and `forget` are called in the Kafka thread, while nothing is read; `is_done` in the event loop's.
    """

    def __init__(self, config: Kafka, *, limit: int = LIMIT) -> None:
        self._config = config
        self._limit = limit
        self._ends: dict[Partition, int] = {}  # messages before these offsets may have been submitted
        # Hashes of ids: whole ids would take twice the memory.
        self._submitted: set[int] = set()
        self._held: dict[int, int] = {}  # with the newest copy that was held
        self._seen: defaultdict[int, set[int]] = defaultdict(set)  # by number of the partition

    def take_over(self, places: Collection[Partition]) -> None:
        """Partitions without an offset were assigned. Raises OffsetsLost, kafka.KafkaUnavailable."""
        if not places or self._config.lost_offsets == "resend":
            return
        with RangeReader(self._config, client_id="smsgateway-offsets") as reader:
            whole = reader.whole({place.topic for place in places})
            held = {place: whole[place] for place in places if place in whole}
            found = {place: one for place, one in held.items() if one.start < one.end}
            if not found:
                return
            statuses_of = self._to_read(reader, found)
            count = sum(one.end - one.start for one in statuses_of.values())
            if count == 0:
                return  # no worker has ever run: everything is to be sent
            if self._config.lost_offsets == "stop":
                raise OffsetsLost(f"{_named(found)} have messages and no offset, and KAFKA_LOST_OFFSETS is stop.")
            if count > self._limit:
                raise OffsetsLost(
                    f"{_named(found)} have messages and no offset, and {count} status events are too many to read. "
                    "Run manage.py recover --offsets."
                )
            for batch in reader.read(statuses_of):
                for message in batch:
                    self._note(message.value() or b"")
        self._ends |= {place: one.end for place, one in found.items()}
        log.warning("offsets_lost", partitions=len(found), submitted=len(self._submitted), held=len(self._held))

    def forget(self, places: Collection[Partition]) -> None:
        """These partitions were given up."""
        for place in places:
            self._ends.pop(place, None)
            self._seen.pop(place.number, None)  # its next owner reads them again, and so does this worker
        self._tidy()

    def is_done(self, place: Place, message: events.DeliveryRequested) -> bool:
        """True if the message must not be submitted from this place: it was submitted, has ended, is held, or was read
        before from another of these partitions."""
        end = self._ends.get(place.partition)
        if end is None:
            return False
        if place.offset >= end:
            del self._ends[place.partition]
            self._tidy()
            return False
        key = hash(message.message_id)
        seen = self._seen[place.partition.number]
        done = key in self._submitted or key in seen or message.copy <= self._held.get(key, -1)
        if done:
            metrics.DELIVERY_ALREADY_SUBMITTED.inc()
        else:
            seen.add(key)
        return done

    def _to_read(self, reader: RangeReader, found: Mapping[Partition, Range]) -> dict[tuple[str, int], Range]:
        """The events that may be of messages in these ranges: not older than the oldest of them."""
        firsts: dict[tuple[str, int], Range] = {place: Range(one.start, one.start + 1) for place, one in found.items()}
        times = [message.timestamp()[1] for batch in reader.read(firsts) for message in batch]
        since = max(min(times, default=0) - _EARLIER_MS, 0)
        whole = reader.whole([self._config.topic_status, self._config.topic_held])
        starts = reader.since(whole.keys(), since)
        return {place: Range(starts[place], one.end) for place, one in whole.items()}

    def _note(self, value: bytes) -> None:
        try:
            event = events.decode_settled(value)
        except events.UnreadableEvent:
            return
        if isinstance(event, events.StatusChanged):
            if event.status != statuses.QUEUED:
                self._submitted.add(hash(event.message_id))
        elif isinstance(event, events.MessageHeld):
            key = hash(event.message_id)
            self._held[key] = max(event.copy, self._held.get(key, 0))

    def _tidy(self) -> None:
        if not self._ends:
            self._submitted, self._held, self._seen = set(), {}, defaultdict(set)


def _named(found: Mapping[Partition, Range]) -> str:
    first = min(found)
    return f"{len(found)} partitions ({first.topic} {first.number} first)"
