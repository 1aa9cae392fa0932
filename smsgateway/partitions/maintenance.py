"""The daily job: creates partitions ahead, and archives those past their retention.

PostgreSQL's clock decides. A clock that jumps must not cause young partitions to be archived: nothing is archived while
PostgreSQL's clock and this machine's differ, or if the newest row makes the time implausible.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import structlog
from django.db import DatabaseError

from smsgateway import ids, metrics
from smsgateway.models import ArchivedPartition
from smsgateway.partitions.catalog import Partition, attached, create_one, days_covered, spans
from smsgateway.partitions.lock import Busy, give_way
from smsgateway.partitions.spans import Span, day_of, missing, name
from smsgateway.partitions.table import Held, PartitionedTable, Trouble, Waits, database_now

log = structlog.get_logger(__name__)

ALERT_DAYS: Final = 3
CLOCKS_DIFFER: Final = dt.timedelta(hours=1)
_SHARE: Final = 4
_LONGEST_PAUSE: Final = 2.0
_PLAUSIBLE: Final = dt.timedelta(days=31)
State = ArchivedPartition.State

REPORTED: Final = (
    metrics.PARTITIONS_AHEAD,
    metrics.PARTITIONS_ATTACHED,
    metrics.PARTITIONS_OVERDUE,
    metrics.PARTITIONS_UNFINISHED,
    metrics.PARTITIONS_CREATED,
    metrics.PARTITIONS_ARCHIVED,
    metrics.PARTITIONS_ARCHIVED_ROWS,
    metrics.PARTITIONS_TROUBLES,
)


class Plan(NamedTuple):
    """What to do now, in this order, and the problems found."""

    create: list[tuple[str, Span]]
    resume: list[ArchivedPartition]
    archive: list[Partition]
    troubles: list[str]


class Done(NamedTuple):
    """What was done (names of partitions), and what went wrong."""

    created: list[str]
    archived: list[str]
    troubles: list[str]


def plan(tables: Sequence[PartitionedTable], *, days_ahead: int, now: dt.datetime | None = None) -> Plan:
    """What `apply` would do. `now`: PostgreSQL's time unless given."""
    now = now or database_now()
    to_create = [(table.name, span) for table in tables for span in _lacking(table, now, days_ahead)]
    records = {record.partition: record for record in ArchivedPartition.objects.all()}
    resume = [records[key] for key in sorted(records) if records[key].state in (State.SEALED, State.VERIFIED)]
    order = [table.name for table in tables]
    resume.sort(key=lambda record: order.index(record.parent))
    troubles = list(_clock_troubles(now))
    if troubles:
        return Plan(to_create, resume, [], troubles)
    due = overdue(tables, now, records)
    return Plan(to_create, resume, due, troubles)


def create_ahead(tables: Sequence[PartitionedTable], *, days_ahead: int, now: dt.datetime | None = None) -> Done:
    """Create what is missing, and archive nothing: a deployment must not wait for an archive. Call it within
    `lock.session`. The result lists what could not be done. Raises django.db.Error."""
    created, troubles = _create(plan(tables, days_ahead=days_ahead, now=now).create)
    measure(tables, now=now)
    return Done(created, [], troubles)


def covered_days(tables: Sequence[PartitionedTable], *, now: dt.datetime | None = None) -> int:
    """How many days after today have partitions of every table; -1 if today lacks one."""
    today = day_of(now or database_now()).date()
    return min(days_covered(spans(table.name), today=today) for table in tables)


def apply(tables: Sequence[PartitionedTable], *, days_ahead: int, place: str, now: dt.datetime | None = None) -> Done:
    """Create what is missing, and archive what is due in the store at `place`. Call it within `lock.session`.

    The result lists what could not be done; the next run tries it again. Raises django.db.Error.
    """
    planned = plan(tables, days_ahead=days_ahead, now=now)
    created, not_created = _create(planned.create)
    troubles = [*planned.troubles, *not_created]
    archived: list[ArchivedPartition] = []
    if planned.resume or planned.archive:
        if place:
            archived = _archive(tables, planned, place, troubles)
        else:
            log.warning("partitions_kept", partitions=len(planned.archive), reason="PARTITION_ARCHIVE is empty")
            troubles += [
                f"{record.partition} is {record.state}, and PARTITION_ARCHIVE is empty." for record in planned.resume
            ]
    for trouble in troubles:
        log.error("partition_trouble", trouble=trouble)
    metrics.PARTITIONS_CREATED.set(len(created))
    metrics.PARTITIONS_ARCHIVED.set(len(archived))
    metrics.PARTITIONS_ARCHIVED_ROWS.set(sum(record.manifest["rows"] for record in archived))
    metrics.PARTITIONS_TROUBLES.set(len(troubles))
    measure(tables, now=now)
    return Done(created, [record.partition for record in archived], troubles)


def _create(wanted: Sequence[tuple[str, Span]]) -> tuple[list[str], list[str]]:
    """Create these partitions; return the names of those created, and what prevented the others."""
    created, troubles = [], []
    for table, span in wanted:
        try:
            with _unhurried():
                create_one(table, span)
        except DatabaseError as error:
            troubles.append(f"{name(table, span)} could not be created: {str(error).strip()}")
        else:
            created.append(name(table, span))
            log.info("partition_created", partition=created[-1])
    return created, troubles


def check(tables: Sequence[PartitionedTable], *, days: int = ALERT_DAYS, now: dt.datetime | None = None) -> list[str]:
    """The problems that need attention; empty if there are none."""
    now = now or database_now()
    troubles = list(_clock_troubles(now))
    for table in tables:
        ahead = days_covered(spans(table.name), today=day_of(now).date())
        if ahead < days:
            troubles.append(
                f"{table.name} has partitions for {max(ahead, 0)} days ahead; run manage.py partitions apply."
            )
        leaving = [partition.name for partition in attached(table.name) if partition.is_leaving]
        troubles += [f"{name_} is partly detached; run manage.py partitions apply." for name_ in leaving]
    for record in ArchivedPartition.objects.filter(state__in=(State.SEALED, State.VERIFIED)):
        troubles.append(
            f"{record.partition} has been {record.state}, not archived, since {record.sealed_at:%Y-%m-%d %H:%M}."
        )
    return troubles


def measure(tables: Sequence[PartitionedTable], *, now: dt.datetime | None = None) -> None:
    """Set the gauges of the partitions' state."""
    now = now or database_now()
    records = {record.partition: record for record in ArchivedPartition.objects.all()}
    late = overdue(tables, now, records)
    for table in tables:
        existing = spans(table.name)
        metrics.PARTITIONS_AHEAD.labels(table.name).set(days_covered(existing, today=day_of(now).date()))
        metrics.PARTITIONS_ATTACHED.labels(table.name).set(len(existing))
        metrics.PARTITIONS_OVERDUE.labels(table.name).set(sum(one.table == table.name for one in late))
    unfinished = [record for record in records.values() if record.state in (State.SEALED, State.VERIFIED)]
    metrics.PARTITIONS_UNFINISHED.set(len(unfinished))


def overdue(
    tables: Sequence[PartitionedTable], now: dt.datetime, records: dict[str, ArchivedPartition]
) -> list[Partition]:
    """The partitions past their retention, by table, oldest first.

    Leaves out partitions that are being detached, and restored ones that are still to be kept.
    """
    newest = [moment for table in tables if (moment := table.newest())]
    if not newest:
        return []
    latest = min(now, max(newest) + _PLAUSIBLE)
    found = []
    for table in tables:
        limit = latest - dt.timedelta(days=table.keep_days)
        for partition in sorted(attached(table.name), key=lambda one: one.span) if table.keep_days else ():
            record = records.get(partition.name)
            if partition.span.end > limit or partition.is_leaving:
                continue
            if record is None or (record.state == State.RESTORED and _may_go(record, now)):
                found.append(partition)
    return found


def _may_go(restored: ArchivedPartition, now: dt.datetime) -> bool:
    return restored.keep_until is None or restored.keep_until < now


def _lacking(table: PartitionedTable, now: dt.datetime, days_ahead: int) -> Iterator[Span]:
    """The missing spans, from yesterday on: a clock slightly behind must not stop an insert at midnight."""
    today = day_of(now)
    since, until = today - dt.timedelta(days=1), today + dt.timedelta(days=days_ahead + 1)
    existing = [partition.span for partition in attached(table.name)]
    # An archived span is not missing, even if a clock goes that far back: its rows may be restored.
    records = ArchivedPartition.objects.filter(parent=table.name).exclude(state=State.RESTORED)
    away = [Span(ids.moment(low), ids.moment(high)) for low, high in records.values_list("low", "high")]
    return missing([*existing, *away], since=since, until=until, interval=table.interval)


def _archive(
    tables: Sequence[PartitionedTable], planned: Plan, place: str, troubles: list[str]
) -> list[ArchivedPartition]:
    from smsgateway.partitions.archive import archive_resume, partition_archive  # imports pyarrow, which is large
    from smsgateway.partitions.store import Store, StoreError

    by_name = {table.name: table for table in tables}
    archived: list[ArchivedPartition] = []
    try:
        store = Store(place)
        store.check()  # first, because a partition that is detached must be copied
        for record in planned.resume:
            if archived:
                give_way()
                record.refresh_from_db()
                if record.state not in (State.SEALED, State.VERIFIED):
                    continue  # another run has finished it meanwhile
            with _unhurried():
                archived.append(archive_resume(by_name[record.parent], record, store=store))
        for partition in planned.archive:
            if archived:
                give_way()
                if partition not in attached(partition.table):
                    continue
            try:
                with _unhurried():
                    archived.append(partition_archive(by_name[partition.table], partition, store=store))
            except Waits as reason:
                log.info("partition_waits", reason=str(reason))
            except Held as reason:
                troubles.append(str(reason))
    except (StoreError, Trouble, Busy, DatabaseError, OSError) as error:
        troubles.append(f"Archiving stopped: {str(error).strip()}")
    return archived


@contextmanager
def _unhurried() -> Iterator[None]:
    """Pause after a change, in proportion to its duration.

    After each change of a table every connection plans its statements on it again. A run with hundreds of changes must
    leave time for sends in between; the usual run makes a handful.
    """
    started = time.monotonic()
    yield
    time.sleep(min(_SHARE * (time.monotonic() - started), _LONGEST_PAUSE))


def _clock_troubles(now: dt.datetime) -> Iterator[str]:
    here = dt.datetime.now(tz=dt.UTC)
    if abs(here - now) > CLOCKS_DIFFER:
        yield (
            f"The clocks differ: PostgreSQL's shows {now:%Y-%m-%d %H:%M}, this machine's {here:%Y-%m-%d %H:%M}."
            " Nothing is archived."
        )
