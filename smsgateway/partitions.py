"""Daily range partitions on a ULID column. A ULID begins with its time, so a day is a range of ids.

There is no DEFAULT partition: it would forbid detaching concurrently. So partitions are made ahead, and an insert
without one fails.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

from django.db import connection
from psycopg import sql

from smsgateway import ids

TABLES: Final = ("sms_message", "sms_statusentry", "balance_ledgerentry", "sms_submittedpart")
DAYS_AHEAD: Final = 14
_LOCK: Final = 0x534D5350  # "SMSP": one maintenance at a time


def names(table: str) -> list[str]:
    """The partitions of a table, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1",
            [table],
        )
        return [row[0] for row in cursor.fetchall()]


def name_of(table: str, day: dt.date) -> str:
    return f"{table}_{day:%Y%m%d}"


def create(*, first: dt.date, days: int, tables: Iterable[str] = TABLES) -> list[str]:
    """Create the partitions of `days` days from `first` that are missing, and return their names.

    One runs at a time; a second one waits, and finds nothing to do.
    """
    created = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            for table in tables:
                existing = set(names(table))
                for offset in range(days):
                    day = first + dt.timedelta(days=offset)
                    if name_of(table, day) not in existing:
                        cursor.execute(_create_statement(table, day))
                        created.append(name_of(table, day))
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    return created


def days_ahead(table: str, *, today: dt.date) -> int:
    """How many days after today have a partition, without a gap."""
    existing = set(names(table))
    ahead = 0
    while name_of(table, today + dt.timedelta(days=ahead + 1)) in existing:
        ahead += 1
    return ahead if name_of(table, today) in existing else -1


def _create_statement(table: str, day: dt.date) -> sql.Composed:
    low, high = (
        ids.lowest_id(dt.datetime.combine(day + dt.timedelta(days=offset), dt.time(), tzinfo=dt.UTC))
        for offset in (0, 1)
    )
    return sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
        sql.Identifier(name_of(table, day)),
        sql.Identifier(table),
        sql.Literal(str(low)),
        sql.Literal(str(high)),
    )
