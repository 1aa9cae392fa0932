"""A partitioned table, and what its app must do when one of its partitions is archived or restored."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection
from psycopg import sql

from smsgateway import ids
from smsgateway.partitions.catalog import Partition
from smsgateway.partitions.spans import Interval


def _is_free(_partition: Partition) -> str:
    return ""


def _no_change(_partition: str) -> None:
    pass


class PartitionedTable(NamedTuple):
    """A table, its settings, and its app's part in archiving.

    `held` returns why a partition cannot be archived yet, or an empty string. `close` is called in the transaction that
    seals a partition, `reopen` in the one that attaches it again. `after`: tables whose partitions of the same time are
    archived first. `along`: tables whose partitions of the same time are restored with it.
    """

    name: str
    column: str
    interval: Interval = "day"
    keep_days: int = 0
    after: Sequence[str] = ()
    along: Sequence[str] = ()
    held: Callable[[Partition], str] = _is_free
    close: Callable[[str], None] = _no_change
    reopen: Callable[[str], None] = _no_change

    def newest(self) -> dt.datetime | None:
        """When the id of the newest row was made; None without rows."""
        query = sql.SQL("SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1").format(
            column=sql.Identifier(self.column), table=sql.Identifier(self.name)
        )
        with connection.cursor() as cursor:
            cursor.execute(query)
            row: tuple[UUID] | None = cursor.fetchone()
        return ids.moment(row[0]) if row else None


class Trouble(Exception):
    """An archive or a restore failed and needs attention"""


class Held(Exception):
    """The partition cannot be archived yet"""


class Waits(Held):
    """Another table's partition of the same time must be archived first"""


def database_now() -> dt.datetime:
    """PostgreSQL's time: the same clock on every machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: dt.datetime = cursor.fetchone()[0]
    return now


def crash_point(name: str) -> None:
    """For tests: in development, kill this process with SIGKILL if PARTITIONS_KILL_AT names this point."""
    if os.environ.get("PARTITIONS_KILL_AT") == name and settings.CONFIG.general.environment == "development":
        os.kill(os.getpid(), signal.SIGKILL)
