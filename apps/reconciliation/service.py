"""One run of the reconciliation: statistics, stuck messages, balances."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import structlog
from django.db import connection

from apps.balance.selectors import AccountOff, accounts_off
from apps.reconciliation.compare import REPAIRABLE, CustomerDay, Kind, day_differences
from apps.reconciliation.kafka_backlog import messages_waiting
from apps.reporting.ingest import snapshots
from apps.sms.recovery.reemit import messages_reemit
from apps.sms.recovery.stuck import Stuck, messages_put_back, messages_stuck
from smsgateway import metrics
from smsgateway.clickhouse import ClickHouse
from smsgateway.config import Config
from smsgateway.kafka.client import KafkaUnavailable
from smsgateway.partitions import names
from smsgateway.partitions.spans import days_of

log = structlog.get_logger(__name__)

_MESSAGES: Final = "sms_message"
_LOCK: Final = 0x534D5352  # "SMSR": one reconciliation at a time
RECHECK_SECONDS: Final = 5.0
"""Differences are checked once more after this time, when events in flight have arrived."""


class AnotherRuns(Exception):
    """Another reconciliation is running"""


@dataclasses.dataclass(slots=True)
class Report:
    """What a run found and repaired. `not_compared`: days whose messages PostgreSQL no longer has."""

    first: dt.date
    last: dt.date
    days: list[CustomerDay] = dataclasses.field(default_factory=list)
    not_compared: list[dt.date] = dataclasses.field(default_factory=list)
    stuck: list[Stuck] = dataclasses.field(default_factory=list)
    waiting: int | None = None
    accounts: list[AccountOff] = dataclasses.field(default_factory=list)
    repaired: Counter[str] = dataclasses.field(default_factory=Counter)

    @property
    def kinds(self) -> Counter[Kind]:
        """The number of differing messages by kind."""
        return Counter(kind for day in self.days for kind in day.messages.values())

    @property
    def agrees(self) -> bool:
        """Whether no difference was found."""
        return not (self.days or self.stuck or self.accounts)


def reconcile(
    *,
    database: ClickHouse,
    config: Config,
    first: dt.date,
    last: dt.date,
    customer_id: UUID | None = None,
    repair: bool = False,
    even_if_waiting: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Report:
    """Compare the days from `first` to `last` (UTC), look for stuck messages and check every account.

    `repair`: publish again the events that ClickHouse lacks, and put stuck messages back. Stuck messages that have not
    expired are put back only if no events wait on Kafka, or with `even_if_waiting`. Raises AnotherRuns,
    ClickHouseError, django.db.Error.
    """
    report = Report(first, last)
    with _single_run():
        _compare(report, database=database, config=config, customer_id=customer_id, pause=pause)
        after = dt.timedelta(seconds=config.reconcile.stuck_after)
        since = dt.datetime.combine(first, dt.time(), tzinfo=dt.UTC)
        found = messages_stuck(since=since, after=after)
        report.stuck = [stuck for stuck in found if customer_id in (None, stuck.customer_id)]
        report.accounts = accounts_off(customer_ids=None if customer_id is None else [customer_id])
        if repair:
            _repair(report, database=database, config=config)
            _put_back(report, config=config, since=since, after=after, even_if_waiting=even_if_waiting)
    _count(report)
    return report


def _compare(
    report: Report, *, database: ClickHouse, config: Config, customer_id: UUID | None, pause: Callable[[float], None]
) -> None:
    in_flight = dt.timedelta(seconds=config.reconcile.in_flight)
    kept = [days_of(name, table=_MESSAGES) for name in names(_MESSAGES)]
    seen: list[CustomerDay] = []
    for offset in range((report.last - report.first).days + 1):
        day = report.first + dt.timedelta(days=offset)
        if not any(first <= day <= last for first, last in kept):
            report.not_compared.append(day)
            continue
        found = day_differences(database=database, day=day, in_flight=in_flight, customer_id=customer_id)
        seen += [one for one in found if one.differs]
    if seen:
        pause(RECHECK_SECONDS)
    for earlier in seen:
        again = day_differences(
            database=database, day=earlier.day, in_flight=in_flight, customer_id=earlier.customer_id
        )
        for now in again:
            now.messages = {
                message_id: kind
                for message_id, kind in now.messages.items()
                if earlier.messages.get(message_id) == kind
            }
            now.stale &= earlier.stale
            if now.differs:
                report.days.append(now)


def _repair(report: Report, *, database: ClickHouse, config: Config) -> None:
    for day in report.days:
        repairable = [message_id for message_id, kind in day.messages.items() if kind in REPAIRABLE]
        if repairable:
            report.repaired["events"] += messages_reemit(message_ids=repairable, currency=config.sms.currency)
            report.repaired["messages"] += len(repairable)
        if day.stale:
            minutes = {(day.customer_id, minute) for minute in day.stale}
            snapshots.compute_minutes(minutes, database=database)
            snapshots.compute_days({snapshots.day_of(minute) for minute in minutes}, database=database)
            report.repaired["minutes"] += len(minutes)


def _put_back(
    report: Report, *, config: Config, since: dt.datetime, after: dt.timedelta, even_if_waiting: bool
) -> None:
    chosen = [stuck.message_id for stuck in report.stuck if stuck.expired or even_if_waiting]
    if len(chosen) < len(report.stuck):
        try:
            report.waiting = messages_waiting(config.kafka)
        except KafkaUnavailable as error:
            log.warning("kafka_not_asked", error=str(error), hint="Stuck messages with time left were not put back.")
        else:
            if not report.waiting:
                chosen = [stuck.message_id for stuck in report.stuck]
    if chosen:
        report.repaired["put_back"] = messages_put_back(message_ids=chosen, since=since, after=after)


@contextmanager
def _single_run() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            raise AnotherRuns("It holds the advisory lock. Wait until it has finished.")
        cursor.execute("SET statement_timeout = 0")  # whole days, the whole ledger
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
            cursor.execute("RESET statement_timeout")


def _count(report: Report) -> None:
    for kind in Kind:
        metrics.RECONCILE_DIFFERENCES.labels(kind).set(report.kinds[kind])
    metrics.RECONCILE_DAYS_OFF.set(len(report.days))
    metrics.RECONCILE_STUCK.set(len(report.stuck))
    metrics.RECONCILE_ACCOUNTS_OFF.set(len(report.accounts))
    for what in ("events", "messages", "minutes", "put_back"):
        metrics.RECONCILE_REPAIRED.labels(what).set(report.repaired[what])
