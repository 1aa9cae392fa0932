"""Builds indexes of partitioned tables while sends continue: concurrently, one partition after the other.

`CREATE INDEX` on a partitioned table blocks every insert until its last partition is done, and PostgreSQL refuses
CONCURRENTLY there. So the index is declared on the parent only; each partition's index is built concurrently and then
attached. After an interruption run it again: it keeps finished indexes and rebuilds invalid ones.

For migrations with `atomic = False`. Declaring, attaching and dropping take locks that block inserts for milliseconds.
Each waits at most a tenth of a second for its lock and then tries again, so no send waits longer than that.

Each partition's index is built under the lock of the maintenance, which others can take in between. Partitions that
they create or restore meanwhile are created like the parent, so they already have the index.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

import structlog
from django.db import OperationalError, connection, transaction
from psycopg import sql

from smsgateway.partitions.lock import Busy, session

log = structlog.get_logger(__name__)

_PAUSE: Final = 0.3
_LOG_EVERY: Final = 100
_WITHOUT: Final = """
SELECT partition.relname
  FROM pg_inherits AS attached
  JOIN pg_class AS partition ON partition.oid = attached.inhrelid
 WHERE attached.inhparent = %s::regclass AND NOT attached.inhdetachpending
   AND NOT EXISTS (
       SELECT FROM pg_index JOIN pg_inherits AS child ON child.inhrelid = indexrelid
        WHERE indrelid = partition.oid AND child.inhparent = %s::regclass)
 ORDER BY partition.relname
 LIMIT 1
"""
_COLUMNS: Final = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = to_regclass(%s)
"""


class Index(NamedTuple):
    """An index of columns, optionally with a condition in SQL. Its name must begin with the table's name."""

    table: str
    name: str
    columns: Sequence[str]
    where: str = ""


def index_build(index: Index) -> None:
    """Build the index for all partitions of the table, present and future. Call it outside a transaction.

    Waits for other maintenance of partitions. Raises django.db.Error; it can then be called again.

    If the last partition without the index is archived between two runs, PostgreSQL keeps calling the parent's index
    invalid. That is harmless: statements use the partitions' indexes, and new partitions get theirs.
    """
    if _is_valid(index.name) is None:
        _briefly(_create(index, on=index.table, name=index.name, how="INDEX IF NOT EXISTS", only=True))
    while _in_turn(lambda: _build_next(index)):
        pass


def index_replace(index: Index) -> None:
    """Like `index_build`, but replace an index of this name with other columns. The old one serves until the end."""
    before = f"{index.name}_before"
    if _is_valid(before) is None and _columns(index.name) not in (None, list(index.columns)):
        _briefly(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(sql.Identifier(index.name), sql.Identifier(before)),
        )
    index_build(index)
    if _is_valid(before) is not None:
        _briefly(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(before)))


def index_build_on_one(index: Index) -> None:
    """Build the index of a table without partitions concurrently, unless it exists."""
    _in_turn(lambda: _build(index, on=index.table, name=index.name))


def _build_next(index: Index) -> bool:
    """Build and attach the index of one partition that lacks it; False if all have it."""
    with connection.cursor() as cursor:
        cursor.execute(_WITHOUT, [index.table, index.name])
        row = cursor.fetchone()
    if row is None:
        return False
    [partition] = row
    name = f"{partition}{index.name.removeprefix(index.table)}"
    _build(index, on=partition, name=name)
    _briefly(
        sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(sql.Identifier(index.name), sql.Identifier(name)),
    )
    log.info("partition_index_built", partition=partition, index=index.name)
    return True


def _build(index: Index, *, on: str, name: str) -> bool:
    """Build the index unless a valid one exists; returns whether it was built."""
    if _is_valid(name):
        return False
    with connection.cursor() as cursor:
        # It may wait for long transactions, and blocks nobody meanwhile.
        cursor.execute("SET lock_timeout = 0")
        cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)))
        cursor.execute(_create(index, on=on, name=name, how="INDEX CONCURRENTLY"))
    return True


def _create(index: Index, *, on: str, name: str, how: str, only: bool = False) -> sql.Composed:
    return sql.SQL("CREATE {} {} ON {}{} ({}){}").format(
        sql.SQL(how),
        sql.Identifier(name),
        sql.SQL("ONLY " if only else ""),
        sql.Identifier(on),
        sql.SQL(", ").join(map(sql.Identifier, index.columns)),
        sql.SQL(f" WHERE {index.where}" if index.where else ""),  # a migration's own text
    )


def _is_valid(name: str) -> bool | None:
    """True if valid, False if invalid, None if missing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name])
        row: tuple[bool] | None = cursor.fetchone()
    return row[0] if row else None


def _columns(name: str) -> list[str] | None:
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS, [name])
        found: list[str] | None = cursor.fetchone()[0]
    return found


def _briefly(statement: sql.Composed) -> None:
    """Run a statement that blocks inserts. If it must wait for a lock, give up quickly and try again."""
    tries = 0
    while True:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '100ms'")
                cursor.execute("SET LOCAL statement_timeout = '1s'")  # many locks, each waited for
                cursor.execute(statement)
        except OperationalError as error:
            if connection.connection is None or connection.connection.closed:
                raise
            tries += 1
            if tries % _LOG_EVERY == 1:
                log.info("partition_index_waits", reason=str(error).strip())
            time.sleep(_PAUSE)
        else:
            return


def _in_turn(step: Callable[[], bool]) -> bool:
    """Run the step under the lock of the maintenance, once it is free.

    It polls for the lock: a statement that waits for it would hold a snapshot, which the other process may wait for.
    """
    tries = 0
    while True:
        with ExitStack() as stack:
            try:
                stack.enter_context(session("index"))
            except Busy as reason:
                tries += 1
                if tries % _LOG_EVERY == 1:
                    log.info("partition_index_waits", reason=str(reason))
            else:
                return step()
        time.sleep(_PAUSE)
