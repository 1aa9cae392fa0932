"""The watch process: measures from outside what a process that has stopped cannot tell of itself.

How old the oldest outbox row is, how far each consumer group is behind, how many days of partitions lie ahead, whether
every account is what its newest ledger entry says. It changes nothing, so one copy is enough and a second one harmless.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from confluent_kafka import KafkaException
from django.db import Error as DatabaseError
from django.db import connection

from apps.balance.selectors import accounts_out_of_step
from smsgateway import ids, metrics, partitions
from smsgateway.config import Config
from smsgateway.config.kafka import Kafka
from smsgateway.kafka.client import Partition
from smsgateway.kafka.groups import topics_by_process
from smsgateway.kafka.lag import LagClient
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
    """Measures one consumer group by its committed offsets."""

    def __init__(self, client: LagClient, *, process: str, topics: Sequence[str]) -> None:
        self.process = process
        self._client = client
        self._topics = topics
        self._behind: dict[Partition, Behind] = {}
        self._seen: set[str] = set()  # topics that have existed: a deleted one goes on being shown

    def look(self, *, now: float) -> None:
        """Raises KafkaException."""
        found = self._client.progress({self.process: self._topics}, timeout=_ANSWER_SECONDS)[self.process]
        self._seen |= {topic for topic, _ in found}
        lag = dict.fromkeys(self._topics, 0)
        behind = dict.fromkeys(self._topics, 0.0)
        for place, progress in found.items():
            topic = place[0]
            lag[topic] += progress.lag
            tracked = self._behind.setdefault(place, Behind())
            seconds = tracked.seconds(committed=progress.committed, end=progress.end, now=now)
            behind[topic] = max(behind[topic], seconds)
        for topic in self._seen:
            metrics.WATCH_LAG.labels(self.process, topic).set(lag[topic])
            metrics.WATCH_BEHIND.labels(self.process, topic).set(behind[topic])


def groups_of(config: Kafka) -> list[Group]:
    """Every consumer group of the gateway."""
    client = LagClient(config, client_id="smsgateway-watch")
    return [Group(client, process=process, topics=topics) for process, topics in topics_by_process(config).items()]


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
