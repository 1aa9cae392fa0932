"""The partitions in PostgreSQL, and how they are created.

Creating a partition never blocks a send: it is created as a table of its own and then attached, with a lock (SHARE
UPDATE EXCLUSIVE) that allows inserts. `CREATE TABLE … PARTITION OF` would take a lock that blocks them.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterable
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from psycopg import sql

from smsgateway import ids
from smsgateway.partitions.lock import LOCK
from smsgateway.partitions.spans import Interval, Span, covered_until, midnight, missing, name

TABLES: Final = ("sms_message", "sms_statusentry", "balance_ledgerentry", "sms_submittedpart")
DAYS_AHEAD: Final = 14

_BOUNDS: Final = re.compile(r"FROM \('([0-9a-f-]{36})'\) TO \('([0-9a-f-]{36})'\)")
_ATTACHED: Final = """
SELECT parent.relname, partition.relname, pg_get_expr(partition.relpartbound, partition.oid), inhdetachpending
  FROM pg_inherits
  JOIN pg_class AS partition ON partition.oid = inhrelid
  JOIN pg_class AS parent ON parent.oid = inhparent
 WHERE inhparent = ANY(%s::regclass[])
 ORDER BY partition.relname
"""


class Partition(NamedTuple):
    """An attached partition. `is_leaving`: it is being detached, and new statements no longer see it."""

    table: str
    name: str
    span: Span
    is_leaving: bool = False


def attached(*tables: str) -> list[Partition]:
    """The partitions of these tables, by name."""
    with connection.cursor() as cursor:
        cursor.execute(_ATTACHED, [list(tables)])
        return [Partition(table, found, _span(bounds), leaving) for table, found, bounds, leaving in cursor.fetchall()]


def names(table: str) -> list[str]:
    """The names of a table's partitions, oldest first."""
    return [partition.name for partition in attached(table)]


def spans(table: str) -> list[Span]:
    """The spans in which the table accepts rows."""
    return [partition.span for partition in attached(table) if not partition.is_leaving]


def days_ahead(table: str, *, today: dt.date) -> int:
    """How many days after today have a partition, up to the first gap; -1 if today has none."""
    return days_covered(spans(table), today=today)


def all_days_ahead(*, today: dt.date) -> dict[str, int]:
    """`days_ahead` of every partitioned table, with one query."""
    found: dict[str, list[Span]] = {table: [] for table in TABLES}
    for partition in attached(*TABLES):
        if not partition.is_leaving:
            found[partition.table].append(partition.span)
    return {table: days_covered(existing, today=today) for table, existing in found.items()}


def days_covered(existing: Iterable[Span], *, today: dt.date) -> int:
    """`days_ahead` of a table that has these spans."""
    return (covered_until(existing, midnight(today)) - midnight(today)).days - 1


def exists(table: str) -> bool:
    """Whether a table of this name exists, attached or not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        return bool(cursor.fetchone()[0])


def create(*, first: dt.date, days: int, tables: Iterable[str] = TABLES, interval: Interval = "day") -> list[str]:
    """Create the missing partitions of `days` days from `first`, and return their names.

    Only one process creates partitions at a time; a second one waits, then finds nothing to do.
    """
    since = midnight(first)
    created = []
    with connection.cursor() as cursor:
        # Polls, because a statement that waits holds a snapshot, which would block an index build.
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if cursor.fetchone()[0]:
                break
            time.sleep(0.05)
        try:
            for table in tables:
                until = since + dt.timedelta(days=days)
                for span in missing(spans(table), since=since, until=until, interval=interval):
                    create_one(table, span)
                    created.append(name(table, span))
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    return created


@transaction.atomic
def create_one(table: str, span: Span) -> None:
    """Create the partition of this span and attach it."""
    with connection.cursor() as cursor:
        cursor.execute(like(table, name(table, span)))
        cursor.execute(attach(table, name(table, span), span))


def like(table: str, new: str) -> sql.Composed:
    """The statement that creates a table with the columns, indexes and constraints of `table`."""
    return sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(sql.Identifier(new), sql.Identifier(table))


def attach(table: str, partition: str, span: Span) -> sql.Composed:
    """The statement that attaches it. PostgreSQL scans its rows unless a CHECK constraint states their range."""
    return sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
        sql.Identifier(table),
        sql.Identifier(partition),
        sql.Literal(str(span.low)),
        sql.Literal(str(span.high)),
    )


def _span(bounds: str) -> Span:
    found = _BOUNDS.search(bounds)
    if found is None:
        raise ValueError(f"partition bounds that are not a range of ids: {bounds}")
    return Span(*(ids.moment(UUID(bound)) for bound in found.groups()))
