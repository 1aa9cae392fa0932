"""The watch process: measures from outside what a stopped process cannot report about itself.

It measures the age of the oldest outbox row, the lag of each consumer group, how many days ahead have partitions, and
whether every account matches its newest ledger entry. It changes nothing: one copy is enough, a second one harmless.
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
from apps.sms.recovery.dead_letters import letters_newest
from smsgateway import ids, metrics, partitions
from smsgateway.config import Config
from smsgateway.config.kafka import Kafka
from smsgateway.kafka.client import KafkaUnavailable, Partition
from smsgateway.kafka.groups import topics_by_process
from smsgateway.kafka.lag import LagClient
from smsgateway.postgres.durability import synchronous_standbys, wal_archive
from smsgateway.process import Process

log = structlog.get_logger(__name__)

_ANSWER_SECONDS: Final = 10.0
# So many observations of a partition are kept. Then every second one is dropped, except the oldest.
_MAX_OBSERVATIONS: Final = 1000
_LETTERS: Final = 1000
_LETTERS_SECONDS: Final = 60.0

_OLDEST = "SELECT id, message_id, payload IS NULL AND NOT due FROM sms_outboxentry ORDER BY id LIMIT 1"


class Outbox:
    """How long the oldest outbox row has been waiting."""

    def __init__(self) -> None:
        self._oldest = (0, 0.0)  # a row's id, and when it was first the oldest

    def measure(self, *, now: float) -> None:
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
        # Only for a newly accepted message does the id have the time since when the row waits.
        since = ids.milliseconds(message_id) / 1000 if is_accepted else self._oldest[1]
        metrics.WATCH_OUTBOX_AGE.set(max(now - since, 0))


class Delay:
    """For how long the oldest unhandled event of a partition has been waiting, as far as was observed."""

    def __init__(self) -> None:
        self._observations: deque[tuple[float, int]] = deque()  # the time, and the end of the partition then

    def seconds(self, *, committed: int, end: int, now: float) -> float:
        """`end`: the offset after the newest event. `committed`: the offset of the first unhandled event."""
        if not self._observations or self._observations[-1][1] < end:
            self._observations.append((now, end))
        while self._observations and self._observations[0][1] <= committed:
            self._observations.popleft()
        if len(self._observations) > _MAX_OBSERVATIONS:
            oldest, *others = self._observations
            self._observations = deque([oldest, *others[1::2]])
        return now - self._observations[0][0] if self._observations else 0.0


class Group:
    """Measures a consumer group by its committed offsets, without joining it."""

    def __init__(self, client: LagClient, *, process: str, topics: Sequence[str]) -> None:
        self.process = process
        self._client = client
        self._topics = topics
        self._delays: dict[Partition, Delay] = {}
        self._seen: set[str] = set()  # topics that exist or existed: their metrics are still set

    def measure(self, *, now: float) -> None:
        """Raises KafkaException."""
        found = self._client.progress({self.process: self._topics}, timeout=_ANSWER_SECONDS)[self.process]
        self._seen |= {topic for topic, _ in found}
        lag = dict.fromkeys(self._topics, 0)
        behind = dict.fromkeys(self._topics, 0.0)
        for place, progress in found.items():
            topic = place[0]
            lag[topic] += progress.lag
            delay = self._delays.setdefault(place, Delay())
            seconds = delay.seconds(committed=progress.committed, end=progress.end, now=now)
            behind[topic] = max(behind[topic], seconds)
        for topic in self._seen:
            metrics.WATCH_LAG.labels(self.process, topic).set(lag[topic])
            metrics.WATCH_BEHIND.labels(self.process, topic).set(behind[topic])


def groups_of(config: Kafka) -> list[Group]:
    """Every consumer group of the gateway."""
    client = LagClient(config, client_id="smsgateway-watch")
    return [Group(client, process=process, topics=topics) for process, topics in topics_by_process(config).items()]


def measure_partitions() -> None:
    """Raises django.db.Error."""
    today = dt.datetime.now(tz=dt.UTC).date()
    for table in partitions.TABLES:
        metrics.WATCH_PARTITIONS_AHEAD.labels(table).set(partitions.days_ahead(table, today=today))


def measure_ledger() -> None:
    """Raises django.db.Error."""
    found = accounts_out_of_step()
    metrics.WATCH_LEDGER_MISMATCHES.set(len(found))
    for customer_id in found[:10]:
        log.error("ledger_mismatch", customer_id=ids.to_text(customer_id))


def measure_durability(*, promised: int) -> None:
    """Raises django.db.Error."""
    standbys, archive = synchronous_standbys(), wal_archive()
    metrics.WATCH_STANDBYS.set(standbys)
    metrics.WATCH_STANDBYS_MISSING.set(max(promised - standbys, 0))
    metrics.WATCH_WAL_ARCHIVE_AGE.set(archive.age if archive.is_on else 0)
    metrics.WATCH_WAL_ARCHIVE_FAILING.set(archive.is_on and archive.is_failing)


def measure_dead_letters(config: Kafka) -> None:
    """Raises kafka.KafkaUnavailable."""
    letters = letters_newest(config, count=_LETTERS, seconds=_ANSWER_SECONDS)
    metrics.WATCH_DEAD_LETTERS.set(sum(not letter.is_replayed for letter in letters))


def run(process: Process, *, config: Config) -> None:
    """Measure until the process is asked to stop. What does not answer is measured again in the next round."""
    outbox, groups = Outbox(), groups_of(config.kafka)
    ledger_at = letters_at = float("-inf")
    while not process.stopping.is_set():
        process.beat()
        now = time.time()
        _measured("outbox", lambda: outbox.measure(now=now))  # noqa: B023
        _measured("partitions", measure_partitions)
        _measured("durability", lambda: measure_durability(promised=config.watch.synchronous_standbys))
        if time.monotonic() - letters_at >= _LETTERS_SECONDS:
            _measured("dead letters", lambda: measure_dead_letters(config.kafka))
            letters_at = time.monotonic()
        for group in groups:
            _measured(group.process, lambda: group.measure(now=now))  # noqa: B023
        if time.monotonic() - ledger_at >= config.watch.ledger_interval and _measured("ledger", measure_ledger):
            ledger_at = time.monotonic()
        process.stopping.wait(config.watch.interval)


def _measured(part: str, measure: Callable[[], None]) -> bool:
    """Measure a part; False if that failed. The last value stays then; its timestamp shows its age."""
    try:
        measure()
    except (DatabaseError, KafkaException, KafkaUnavailable) as error:
        log.error("watch_failed", part=part, error=str(error).strip())
        if isinstance(error, DatabaseError):
            connection.close()
        return False
    metrics.WATCH_LOOKED_AT.labels(part).set_to_current_time()
    return True
