"""Recomputes the statistics of inserted events while further events are inserted.

Collects the minutes and days that the events touched, recomputes them in a thread of its own, and returns the Kafka
offsets that may be committed: those whose events are both in the raw table and in the statistics. After a crash, events
beyond them are read, and their minutes and days touched, again.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import structlog

from apps.reporting.ingest import snapshots
from smsgateway.clickhouse import ClickHouse, ClickHouseError
from smsgateway.metrics import INGEST_FRESHNESS, INGEST_NEWEST, INGEST_PENDING, INGEST_SNAPSHOT_DURATION

log = structlog.get_logger(__name__)

Partition = tuple[str, int]
"""A topic and a partition."""
Offsets = dict[Partition, int]
"""The next offset to read of each partition."""

SECONDS: Final = 1.0
"""The shortest time between two computations."""
MINUTES_SHARE: Final = 0.25
DAYS_SHARE: Final = 0.1
"""Computing minutes, or days, takes at most this share of the time, unless memory runs full or no events come."""
CATCHING_UP_SHARE: Final = 0.05
"""The share of each while catching up: minutes that are touched again and again need not be computed each time."""
MAX_TOUCHED: Final = 200_000
"""The most minutes, or days, to remember before inserting waits. About 40 MB."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    """Minutes that are being computed, then days. `offsets` may be committed when both are done."""

    minutes: set[snapshots.Minute]
    days: set[snapshots.Day]
    offsets: Offsets
    newest: float
    future: Future[tuple[float, float]]


@dataclasses.dataclass(slots=True)
class Pace:
    """When minutes, or days, are due again. The last computation took `took` seconds, until `ended` (monotonic)."""

    share: float
    took: float = 0.0
    ended: float = -math.inf

    def is_due(self, now: float, *, catching_up: bool, idle: bool) -> bool:
        """`catching_up`: many events wait; `idle`: none wait, so computing delays nothing."""
        share = CATCHING_UP_SHARE if catching_up else self.share
        pause = 0.0 if idle else self.took * (1 / share - 1)
        return now - self.ended >= max(SECONDS - self.took, pause)


class Refresher:
    """Used by one thread; only the computation runs in another."""

    def __init__(self, *, database: ClickHouse) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._minutes: set[snapshots.Minute] = set()
        self._days: set[snapshots.Day] = set()
        self._inserted: Offsets = {}
        self._ready: Offsets = {}
        self._job: _Job | None = None
        self._pace_of_minutes, self._pace_of_days = Pace(MINUTES_SHARE), Pace(DAYS_SHARE)
        self._waiting = False
        self._newest = 0.0

    def inserted(self, minutes: Iterable[snapshots.Minute], offsets: Mapping[Partition, int], *, newest: float) -> None:
        """Events of these minutes are in the raw table now. `offsets`: those after them; `newest`: the latest time."""
        self._minutes.update(minutes)
        self._newest = max(self._newest, newest)
        self._inserted.update(offsets)
        INGEST_PENDING.set(len(self._minutes))

    def make_room(self) -> None:
        """Wait while too many minutes or days are touched. Raises ClickHouseError if they cannot be computed."""
        while max(len(self._minutes), len(self._days)) > MAX_TOUCHED:
            if self._job is None:
                self._start(with_days=len(self._days) > MAX_TOUCHED)
            self._finish_job()

    def take_ready(self, *, catching_up: bool, idle: bool) -> Offsets:
        """Start what is due, and return the offsets that have become committable since the last call.

        `catching_up`: many events wait; `idle`: all events so far are inserted.
        """
        if self._job and self._job.future.done():
            try:
                self._finish_job()
            except ClickHouseError as error:
                if not self._waiting:
                    log.error("statistics_wait", error=str(error)[:500])
                self._waiting = True
                for pace in (self._pace_of_minutes, self._pace_of_days):
                    pace.took, pace.ended = 0.0, time.monotonic()
        if self._job is None:
            now = time.monotonic()
            minutes_due = self._pace_of_minutes.is_due(now, catching_up=catching_up, idle=idle)
            days_due = self._pace_of_days.is_due(now, catching_up=catching_up, idle=idle)
            # Days that are due do not make minutes due.
            if minutes_due if self._minutes else self._days and days_due:
                self._start(with_days=days_due)
        return self._take()

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These partitions were revoked: their statistics stay, and their offsets are no longer committed."""
        for partition in partitions:
            for offsets in (self._inserted, self._ready, self._job.offsets if self._job else {}):
                offsets.pop(partition, None)

    def finish(self) -> Offsets:
        """Compute everything touched, end the thread, and return the offsets that may be committed."""
        try:
            while self._job or self._minutes or self._days:
                if self._job is None:
                    self._start(with_days=True)
                self._finish_job()
        except ClickHouseError as error:
            log.error("statistics_left_to_the_next_start", error=str(error)[:500])
        self.close()
        return self._take()

    def close(self) -> None:
        """End the thread, even if its computation failed."""
        self._thread.shutdown()

    def _take(self) -> Offsets:
        if not (self._job or self._minutes or self._days):
            # No statistics are due, for example after a batch of unreadable events.
            self._ready.update(self._inserted)
            self._inserted = {}
        ready, self._ready = self._ready, {}
        return ready

    def _start(self, *, with_days: bool) -> None:
        minutes, self._minutes = self._minutes, set()
        self._days.update(map(snapshots.day_of, minutes))
        days: set[snapshots.Day] = set()
        offsets: Offsets = {}
        if with_days:
            days, self._days = self._days, set()
            offsets, self._inserted = self._inserted, {}
        self._job = _Job(minutes, days, offsets, self._newest, self._thread.submit(self._compute, minutes, days))

    def _compute(self, minutes: set[snapshots.Minute], days: set[snapshots.Day]) -> tuple[float, float]:
        """Runs in the thread. Returns the seconds that minutes and days took."""
        started = time.monotonic()
        snapshots.compute_minutes(minutes, database=self._database)
        halfway = time.monotonic()
        snapshots.compute_days(days, database=self._database)
        return halfway - started, time.monotonic() - halfway

    def _finish_job(self) -> None:
        """Wait for the job. If it raises ClickHouseError, its minutes and days count as touched again."""
        job, self._job = self._job, None
        if job is None:
            return
        try:
            of_minutes, of_days = job.future.result()
        except ClickHouseError:
            self._minutes |= job.minutes
            self._days |= job.days
            self._inserted = job.offsets | self._inserted
            raise
        if self._waiting:
            log.info("statistics_go_on")
        self._waiting = False
        now = time.monotonic()
        if job.minutes:
            INGEST_SNAPSHOT_DURATION.labels("minute").observe(of_minutes)
            self._pace_of_minutes.took, self._pace_of_minutes.ended = of_minutes, now
        if job.days:
            INGEST_SNAPSHOT_DURATION.labels("day").observe(of_days)
            self._pace_of_days.took, self._pace_of_days.ended = of_days, now
        INGEST_NEWEST.set(job.newest)
        INGEST_FRESHNESS.set_function(lambda: time.time() - job.newest)
        self._ready.update(job.offsets)
        INGEST_PENDING.set(len(self._minutes))
