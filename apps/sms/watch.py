"""The watch process: measures from outside what a process that has stopped cannot tell of itself.

How old the oldest outbox row is, how far each consumer group is behind, how many days of partitions lie ahead, whether
every account is what its newest ledger entry says. It changes nothing, so one copy is enough and a second one harmless.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from django.db import Error as DatabaseError
from django.db import connection

from apps.balance.selectors import accounts_out_of_step
from smsgateway import ids, metrics, partitions
from smsgateway.config import Config
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.process import Process

log = structlog.get_logger(__name__)

_ANSWER_SECONDS: Final = 10.0
# Of a partition so many sightings are remembered; then every second one is forgotten, but for the oldest.
_SIGHTINGS: Final = 1000

_OLDEST = "SELECT id, message_id, payload IS NULL AND NOT due FROM sms_outboxentry ORDER BY id LIMIT 1"


class Outbox:
    """How long the oldest outbox row has been waiting."""

    def __init__(self) -> None:
        self._oldest = (0, 0.0)  # a row's id, and when it was first seen to be the oldest

    def look(self, *, now: float) -> None:
        """Raises django.db.Error."""
        with connection.cursor() as cursor:
            cursor.execute(_OLDEST)
            row = cursor.fetchone()
        if row is None:
            metrics.WATCH_OUTBOX_AGE.set(0)
            return
        row_id, message_id, is_accepted = row
        if self._oldest[0] != row_id:
            self._oldest = (row_id, now)
        # Only of a message that was just accepted does the id tell since when its row waits.
        since = ids.milliseconds(message_id) / 1000 if is_accepted else self._oldest[1]
        metrics.WATCH_OUTBOX_AGE.set(max(now - since, 0))


class Behind:
    """For how long the oldest event of a partition waits that its group has not done, as far as was seen."""

    def __init__(self) -> None:
        self._sightings: deque[tuple[float, int]] = deque()  # when, and where the partition ended then

    def seconds(self, *, committed: int, end: int, now: float) -> float:
        """`end`: the offset after the newest event; `committed`: the first that is not done."""
        if not self._sightings or self._sightings[-1][1] < end:
            self._sightings.append((now, end))
        while self._sightings and self._sightings[0][1] <= committed:
            self._sightings.popleft()
        if len(self._sightings) > _SIGHTINGS:
            oldest, *others = self._sightings
            self._sightings = deque([oldest, *others[1::2]])
        return now - self._sightings[0][0] if self._sightings else 0.0


class Group:
    """One consumer group, as its committed offsets tell. It is never joined."""

    def __init__(self, config: Kafka, *, process: str, topics: Iterable[str]) -> None:
        self.process = process
        self._topics = tuple(topics)
        self._consumer: Consumer = kafka.consumer(config, process=process)
        self._behind: dict[tuple[str, int], Behind] = {}
        self._seen: set[str] = set()  # topics that exist, or have existed: what is told of one goes on

    def look(self, *, now: float) -> None:
        """Raises KafkaException."""
        known = self._consumer.list_topics(timeout=_ANSWER_SECONDS).topics
        places = [
            TopicPartition(topic, partition)
            for topic in self._topics
            if topic in known
            for partition in known[topic].partitions
        ]
        self._seen |= {place.topic for place in places}
        lag = dict.fromkeys(self._topics, 0)
        behind = dict.fromkeys(self._topics, 0.0)
        for place in self._consumer.committed(places, timeout=_ANSWER_SECONDS) if places else []:
            start, end = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_SECONDS)
            committed = max(place.offset, start)  # below zero: nothing was committed yet
            tracked = self._behind.setdefault((place.topic, place.partition), Behind())
            lag[place.topic] += max(end - committed, 0)
            seconds = tracked.seconds(committed=committed, end=end, now=now)
            behind[place.topic] = max(behind[place.topic], seconds)
        for topic in self._seen:
            metrics.WATCH_LAG.labels(self.process, topic).set(lag[topic])
            metrics.WATCH_BEHIND.labels(self.process, topic).set(behind[topic])

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()


def groups_of(config: Kafka) -> list[Group]:
    """Every consumer group of the gateway."""
    return [
        Group(config, process="deliver", topics=config.read_delivery_topics),
        Group(config, process="settle", topics=config.settled_topics),
        Group(config, process="ingest", topics=(config.topic_accepted, config.topic_status)),
    ]


def look_at_partitions() -> None:
    """Raises django.db.Error."""
    today = dt.datetime.now(tz=dt.UTC).date()
    for table in partitions.TABLES:
        metrics.WATCH_PARTITIONS_AHEAD.labels(table).set(partitions.days_ahead(table, today=today))


def look_at_ledger() -> None:
    """Raises django.db.Error."""
    found = accounts_out_of_step()
    metrics.WATCH_LEDGER_MISMATCHES.set(len(found))
    for customer_id in found[:10]:
        log.error("ledger_mismatch", customer_id=ids.to_text(customer_id))


def run(process: Process, *, config: Config) -> None:
    """Look until the process is asked to stop. What does not answer is looked at again next time."""
    outbox, groups = Outbox(), groups_of(config.kafka)
    ledger_at = float("-inf")
    try:
        while not process.stopping.is_set():
            process.beat()
            now = time.time()
            _try("outbox", lambda: outbox.look(now=now))  # noqa: B023
            _try("partitions", look_at_partitions)
            for group in groups:
                _try(group.process, lambda: group.look(now=now))  # noqa: B023
            if time.monotonic() - ledger_at >= config.watch.ledger_interval and _try("ledger", look_at_ledger):
                ledger_at = time.monotonic()
            process.stopping.wait(config.watch.interval)
    finally:
        for group in groups:
            group.close()


def _try(part: str, look: Callable[[], None]) -> bool:
    """Whether it could be looked at. If not, what was measured last stands; the time of the look tells its age."""
    try:
        look()
    except (DatabaseError, KafkaException) as error:
        log.error("watch_failed", part=part, error=str(error).strip())
        if isinstance(error, DatabaseError):
            connection.close()
        return False
    metrics.WATCH_LOOKED_AT.labels(part).set_to_current_time()
    return True
