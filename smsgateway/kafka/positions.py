"""How far this database knows Kafka's partitions: recorded in the database, and therefore restored with it.

The relay records the ends of what it has written, settlement what it has read, before it commits its offsets. If the
database is restored to an earlier time, Kafka has events beyond these positions that the database does not know.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Mapping
from typing import Final

from django.db import connection, transaction

from smsgateway.kafka.client import Partition
from smsgateway.models import KafkaPosition

_SECONDS: Final = 1.0
_RECOVERY: Final = "recovery"  # no name of a topic: a row that stands while a recovery is under way
# Copies of a process write the same rows, in one order. A late one must not set a position back.
_RAISE: Final = """
INSERT INTO kafka_position AS known (topic, partition, position, at)
SELECT topic, partition, position, now()
  FROM unnest(%s::text[], %s::int[], %s::bigint[]) AS found (topic, partition, position)
 ORDER BY topic, partition
    ON CONFLICT (topic, partition) DO UPDATE SET position = excluded.position, at = excluded.at
 WHERE known.position < excluded.position {or_set}
"""


def positions_raise(positions: Mapping[Partition, int]) -> None:
    """Record these positions where they are beyond the known ones."""
    _write(positions, "")


def positions_set(positions: Mapping[Partition, int]) -> None:
    """Record these positions, also where they lie before the known ones: their topics were created again."""
    _write(positions, "OR true")


def positions_read(topics: Collection[str]) -> dict[Partition, int]:
    """The recorded positions of these topics' partitions."""
    rows = KafkaPosition.objects.filter(topic__in=topics).values_list("topic", "partition", "position")
    return {(topic, partition): position for topic, partition, position in rows}


def recovery_begin(since: dt.datetime) -> dt.datetime:
    """Note that a recovery is under way, and from when it reads; return the time of an earlier one that did not end."""
    note, _ = KafkaPosition.objects.get_or_create(topic=_RECOVERY, partition=0, defaults={"position": 0, "at": since})
    return note.at


def recovery_end(positions: Mapping[Partition, int]) -> None:
    """The recovery has brought the database to these positions."""
    with transaction.atomic():
        positions_set(positions)
        KafkaPosition.objects.filter(topic=_RECOVERY).delete()


def recovery_is_under_way() -> bool:
    """Whether a recovery has begun and not ended: it runs, or it failed."""
    return KafkaPosition.objects.filter(topic=_RECOVERY).exists()


def _write(positions: Mapping[Partition, int], or_set: str) -> None:
    if not positions:
        return
    topics, partitions = zip(*positions, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_RAISE.format(or_set=or_set), [list(topics), list(partitions), list(positions.values())])


class PositionsSaver:
    """Records positions at most once a second: they need not be exact, only never too high."""

    def __init__(self, *, topics: Collection[str]) -> None:
        self._topics = topics
        self._saved: dict[Partition, int] = {}
        self._next_at = float("-inf")

    def tick(self, positions: Mapping[Partition, int]) -> None:
        """Record what has changed, if it is time. Raises django.db.Error."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _SECONDS
        changed = {
            place: position
            for place, position in positions.items()
            if place[0] in self._topics and self._saved.get(place, -1) < position
        }
        positions_raise(changed)
        self._saved |= changed
