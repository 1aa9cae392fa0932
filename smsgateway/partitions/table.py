"""A partitioned table with what its app must do around its archive; and the session in which partitions are kept."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from psycopg import sql

from smsgateway import ids
from smsgateway.partitions.catalog import LOCK, Partition
from smsgateway.partitions.spans import Interval

log = structlog.get_logger(__name__)

# While we wait for a lock on a table that sends use, they wait behind us: not for long.
_SESSION: Final = {
    "lock_timeout": "2s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # If this process dies PostgreSQL sees it soon, stops what it did for it, and frees the lock.
    "client_connection_check_interval": "1s",
}
# Whoever holds the lock, of those that look at the same database.
_HOLDER: Final = """
SELECT activity.pid, activity.application_name, activity.backend_start
  FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
 WHERE held.locktype = 'advisory' AND held.granted AND held.classid = 0 AND held.objid = %s
   AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND activity.pid <> pg_backend_pid()
"""


def _is_free(_partition: Partition) -> str:
    return ""


def _no_change(_partition: str) -> None:
    pass


class PartitionedTable(NamedTuple):
    """A table, its settings, and its app's part in archiving.

    `held` tells why a partition cannot be archived yet, or nothing. `close` is called in the transaction that seals a
    partition, `reopen` in the one that attaches it again. `after`: tables whose partitions of the same time go first.
    `along`: tables whose partitions of the same time are restored with it.
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
        """When its newest row's id was made."""
        query = sql.SQL("SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1").format(
            column=sql.Identifier(self.column), table=sql.Identifier(self.name)
        )
        with connection.cursor() as cursor:
            cursor.execute(query)
            row: tuple[UUID] | None = cursor.fetchone()
        return ids.moment(row[0]) if row else None


class Trouble(Exception):
    """Something did not go as it must; a person is to be told"""


class Held(Exception):
    """The partition cannot be archived yet, and a person should know why"""


class Waits(Held):
    """Another table's partition of the same time is to go first"""


class Busy(Exception):
    """Another maintenance of partitions is at work"""


@contextlib.contextmanager
def session(action: str = "maintenance") -> Iterator[None]:
    """Be the only maintenance of partitions, with patience for long statements. Raises Busy, at once.

    `action` is what PostgreSQL, and who comes second, is told that we do.
    """
    values = _SESSION | {"application_name": f"smsgateway partitions {action}"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            cursor.execute(_HOLDER, [LOCK])
            row = cursor.fetchone()
            holder = f"process {row[0]} of PostgreSQL ({row[1]}, connected {row[2]:%Y-%m-%d %H:%M:%S})" if row else ""
            raise Busy(f"Another maintenance of partitions is at work: {holder or 'it ends just now'}.")
        try:
            for name, value in values.items():
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
            yield
        finally:
            with contextlib.suppress(DatabaseError):  # with a connection that broke the lock went
                for name in values:
                    cursor.execute(sql.SQL("RESET {}").format(sql.Identifier(name)))
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def database_now() -> dt.datetime:
    """PostgreSQL's time: one clock for all, whichever machine the job runs on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: dt.datetime = cursor.fetchone()[0]
    return now


def crash_point(name: str) -> None:
    """In development, end this process as `kill -9` does if PARTITIONS_KILL_AT names this point: for tests."""
    if os.environ.get("PARTITIONS_KILL_AT") == name and settings.CONFIG.general.environment == "development":
        os.kill(os.getpid(), signal.SIGKILL)
