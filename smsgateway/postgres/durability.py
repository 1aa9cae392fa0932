"""Whether PostgreSQL keeps what it has confirmed: synchronous standbys, and the archive of its WAL."""

from __future__ import annotations

from typing import Final, NamedTuple

from django.db import connection

# Without the role pg_monitor the states of standbys are null; then the setting alone counts.
_STANDBYS: Final = """
SELECT current_setting('synchronous_standby_names') <> ''
       AND current_setting('synchronous_commit') IN ('on', 'remote_write', 'remote_apply'),
       count(*) FILTER (WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')),
       count(*) FILTER (WHERE state IS NULL AND pid IS NOT NULL)
  FROM pg_stat_replication
"""
_ARCHIVE: Final = """
SELECT current_setting('archive_mode') <> 'off',
       extract(epoch FROM now() - greatest(last_archived_time, pg_postmaster_start_time()))::float8,
       coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)
  FROM pg_stat_archiver
"""


class Archive(NamedTuple):
    """The WAL archive. `age`: seconds since the last segment was archived. `is_failing`: the last try failed."""

    is_on: bool
    age: float
    is_failing: bool


def synchronous_standbys() -> int:
    """How many standbys confirm every commit. 0 also if the setting is off. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDBYS)
        is_on, confirmed, unseen = cursor.fetchone()
    return (confirmed or unseen) if is_on else 0


def wal_archive() -> Archive:
    """The state of the WAL archive. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_ARCHIVE)
        return Archive(*cursor.fetchone())
