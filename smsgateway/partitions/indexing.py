"""Indexes are built while sends go on: partition by partition, concurrently.

`CREATE INDEX` on a partitioned table stops every insert until its last partition is done, and with CONCURRENTLY it is
refused there. So the index is declared on the parent alone; each partition's is built concurrently and attached. A run
that was interrupted is simply run again: it takes what is there, and builds anew what is invalid.

For migrations, with `atomic = False`. Two steps take locks that inserts wait behind, for milliseconds: declaring and
attaching (and dropping). They are tried for a tenth of a second, again and again, so no send waits longer than that.

A partition's index is built as the only maintenance of partitions; between two of them the others have their turn. What
they make or restore meanwhile is made like the parent, so it has the index already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

import structlog
from django.db import OperationalError, connection, transaction
from psycopg import sql

from smsgateway.partitions.table import Busy, session

log = structlog.get_logger(__name__)

_PAUSE: Final = 0.3
_TOLD_EVERY: Final = 100
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
    """An index of columns, with a condition in SQL if it has one. Its name begins with its table's."""

    table: str
    name: str
    columns: Sequence[str]
    where: str = ""


def index_build(index: Index) -> None:
    """Let each partition of the table have it, and those to come. To be called outside a transaction.

    Waits for another maintenance of partitions. Raises django.db.Error; then it can be called again.

    If the last partition without it went to the archive between two runs, PostgreSQL goes on calling the parent's index
    invalid. Nothing is lost: statements use the partitions' indexes, and new partitions get theirs.
    """
    if _is_valid(index.name) is None:
        _briefly(_create(index, on=index.table, name=index.name, how="INDEX IF NOT EXISTS", only=True))
    while _in_turn(lambda: _build_next(index)):
        pass


def index_replace(index: Index) -> None:
    """The same; an index of this name with other columns serves until this one is there, then it is dropped."""
    before = f"{index.name}_before"
    if _is_valid(before) is None and _columns(index.name) not in (None, list(index.columns)):
        _briefly(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(sql.Identifier(index.name), sql.Identifier(before)),
        )
    index_build(index)
    if _is_valid(before) is not None:
        _briefly(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(before)))


def index_build_on_one(index: Index) -> None:
    """An index on a table without partitions, concurrently; it may be there already."""
    _in_turn(lambda: _build(index, on=index.table, name=index.name))


def _build_next(index: Index) -> bool:
    """Build and attach the index of one partition; False if none lacks it."""
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
    """Build it unless it is there; whether it was to be built."""
    if _is_valid(name):
        return False
    with connection.cursor() as cursor:
        # It waits for transactions, long ones too, and nobody waits behind it.
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
    """Whether the index is; None if there is none."""
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
    """Run what inserts wait behind, and let go at once if it has to wait itself."""
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
            if tries % _TOLD_EVERY == 1:
                log.info("partition_index_waits", reason=str(error).strip())
            time.sleep(_PAUSE)
        else:
            return


def _in_turn(step: Callable[[], bool]) -> bool:
    """Do it as the only maintenance of partitions, when the others have ended.

    It asks again and again: a statement that waits for a lock holds a snapshot, for whose end the other may wait.
    """
    tries = 0
    while True:
        with ExitStack() as stack:
            try:
                stack.enter_context(session("index"))
            except Busy as reason:
                tries += 1
                if tries % _TOLD_EVERY == 1:
                    log.info("partition_index_waits", reason=str(reason))
            else:
                return step()
        time.sleep(_PAUSE)
