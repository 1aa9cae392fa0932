"""The lock that lets only one maintenance of partitions run at a time, and the database session that it runs in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from django.db import DatabaseError, connection
from psycopg import sql

LOCK: Final = 0x534D5350  # "SMSP"
GIVE_WAY_SECONDS: Final = 0.5  # longer than a waiting process polls
_AWAY_SECONDS: Final = 600.0

# Sends queue behind a statement that waits for a lock on their table, so the wait must be short.
_SESSION: Final = {
    "lock_timeout": "2s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # If this process dies, PostgreSQL notices soon, stops its statement and releases the lock.
    "client_connection_check_interval": "1s",
}
# The session in this database that holds the lock.
_HOLDER: Final = """
SELECT activity.pid, activity.application_name, activity.backend_start
  FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
 WHERE held.locktype = 'advisory' AND held.granted AND held.classid = 0 AND held.objid = %s
   AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND activity.pid <> pg_backend_pid()
"""


class Busy(Exception):
    """Another maintenance of partitions is running"""


def give_way() -> None:
    """Within `session`, between two partitions: let a migration that waits build an index, or a deployment create
    partitions. Another maintenance may run meanwhile, so look at the partitions again afterwards. Raises Busy."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
        until = time.monotonic() + _AWAY_SECONDS
        while True:
            time.sleep(GIVE_WAY_SECONDS)
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if cursor.fetchone()[0]:
                return
            if time.monotonic() > until:
                raise Busy("Another maintenance of partitions has taken over.")


@contextlib.contextmanager
def session(action: str = "maintenance") -> Iterator[None]:
    """Hold the lock, with a session that allows long statements. Raises Busy at once if another session holds it.

    `action` names what this session does, in `pg_stat_activity` and in the Busy of others.
    """
    values = _SESSION | {"application_name": f"smsgateway partitions {action}"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            cursor.execute(_HOLDER, [LOCK])
            row = cursor.fetchone()
            holder = f"process {row[0]} of PostgreSQL ({row[1]}, connected {row[2]:%Y-%m-%d %H:%M:%S})" if row else ""
            raise Busy(f"Another maintenance of partitions is running: {holder or 'it is about to end'}.")
        try:
            for name, value in values.items():
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
            yield
        finally:
            with contextlib.suppress(DatabaseError):  # a broken connection has already released the lock
                for name in values:
                    cursor.execute(sql.SQL("RESET {}").format(sql.Identifier(name)))
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
