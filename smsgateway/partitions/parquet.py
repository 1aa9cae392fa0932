"""Copies the rows of a partition to a Parquet file and back, in pieces, so that memory stays small.

PostgreSQL exports the rows as CSV in a form that pyarrow also writes, byte for byte. The SHA-256 of these bytes is
therefore the same for the partition, for the file read back, and for the restored partition.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from django.db import connection
from psycopg import sql

from smsgateway.partitions.store import Store
from smsgateway.partitions.table import Trouble, crash_point

_GROUP_ROWS: Final = 50_000
_BLOCK: Final = 4 * 1024 * 1024
_TYPES: Final[dict[str, pa.DataType]] = {
    "uuid": pa.string(),
    "text": pa.string(),
    "character varying": pa.string(),
    "jsonb": pa.string(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
}
_COLUMNS: Final = """
SELECT attname, format_type(atttypid, NULL),
       coalesce(array_position(string_to_array(indkey::text, ' ')::int2[], attnum), 0)
  FROM pg_attribute LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
 ORDER BY attnum
"""


class Column(NamedTuple):
    """A column: its PostgreSQL type, and its place in the primary key (from 1; 0 if it is not part of the key)."""

    name: str
    type: str
    key: int


class Copied(NamedTuple):
    """What was read or written. `content` is the SHA-256 of the rows, which does not depend on the file."""

    rows: int
    content: str
    first: str | None
    last: str | None


def columns_of(table: str) -> list[Column]:
    """The table's columns. Raises Trouble for a type that the archive does not support."""
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS, [table])
        found = [Column(*row) for row in cursor.fetchall()]
    for column in found:
        if column.type not in _TYPES:
            raise Trouble(f"{table}.{column.name} is {column.type}, a type that the archive does not support.")
    return found


def schema_version(columns: Sequence[Column]) -> str:
    """A short hash of these columns, which changes when a migration changes them."""
    return hashlib.sha256(repr([tuple(column) for column in columns]).encode()).hexdigest()[:12]


def write_file(table: str, columns: Sequence[Column], *, store: Store, name: str) -> Copied:
    """Copy the table's rows, in the order of their key, to a file."""
    schema = pa.schema([(column.name, _TYPES[column.type]) for column in columns])
    digest = hashlib.sha256()
    rows, first, last = 0, None, None
    key = min((column for column in columns if column.key), key=lambda column: column.key).name
    with store.sink(name) as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _groups(_batches(table, columns, schema, digest)):
            writer.write_table(group, row_group_size=_GROUP_ROWS)
            rows += group.num_rows
            first = first or group.column(key)[0].as_py()
            last = group.column(key)[-1].as_py()
            crash_point("copying")
    store.settle(name)
    return Copied(rows, digest.hexdigest(), first, last)


def read_file(store: Store, name: str) -> Copied:
    """Read a whole file back, as a restore does."""
    digest = hashlib.sha256()
    rows = 0
    for batch in file_batches(store, name):
        digest.update(to_csv(batch))
        rows += batch.num_rows
    return Copied(rows, digest.hexdigest(), None, None)


def file_batches(store: Store, name: str) -> Iterator[pa.RecordBatch]:
    """The file's rows, in pieces."""
    with store.source(name) as source, pq.ParquetFile(source) as file:
        yield from file.iter_batches(batch_size=_GROUP_ROWS)


def to_csv(batch: pa.RecordBatch) -> memoryview:
    """Rows as CSV for PostgreSQL's COPY, in the same form as `copy_out`."""
    buffer = io.BytesIO()
    pacsv.write_csv(batch, buffer, pacsv.WriteOptions(include_header=False, quoting_style="needed"))
    return buffer.getbuffer()


def content_of(table: str, columns: Sequence[Column]) -> str:
    """The SHA-256 of the table's rows."""
    digest = hashlib.sha256()
    with connection.cursor() as cursor, _copying_out(cursor, table, columns) as copy:
        for piece in copy:
            digest.update(piece)
    return digest.hexdigest()


def copy_out(table: str, columns: Sequence[Column]) -> sql.Composed:
    """The COPY statement for all rows in key order, in a form that does not depend on session settings."""
    order = sorted((column for column in columns if column.key), key=lambda column: column.key)
    return sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT (FORMAT csv, FORCE_QUOTE ({}))").format(
        sql.SQL(", ").join(map(_exported, columns)),
        sql.Identifier(table),
        sql.SQL(", ").join(map(_ordered, order)),
        sql.SQL(", ").join(sql.Identifier(c.name) for c in columns if _TYPES[c.type] == pa.string()),
    )


def _exported(column: Column) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.type == "timestamp with time zone":
        form = sql.Literal('YYYY-MM-DD HH24:MI:SS.US"Z"')
        return sql.SQL("to_char({} AT TIME ZONE 'UTC', {}) AS {}").format(name, form, name)
    return name


def _ordered(column: Column) -> sql.Composable:
    # By code points, so that the order is the same in a database with another collation.
    collate = sql.SQL(' COLLATE "C"') if column.type in ("text", "character varying") else sql.SQL("")
    return sql.SQL("{}{}").format(sql.Identifier(column.name), collate)


def _copying_out(cursor: Any, table: str, columns: Sequence[Column]) -> Any:
    return cursor.copy(copy_out(table, columns))


class _Pieces(io.RawIOBase):
    """COPY's output as a file, digested as it passes."""

    def __init__(self, copy: Any, digest: Any) -> None:
        self._pieces = iter(copy)
        self._digest = digest
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        filled = 0
        while filled < len(target):
            if not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._digest.update(piece)
                self._left = memoryview(piece)
            count = min(len(self._left), len(target) - filled)
            target[filled : filled + count] = self._left[:count]
            self._left = self._left[count:]
            filled += count
        return filled


def _batches(table: str, columns: Sequence[Column], schema: pa.Schema, digest: Any) -> Iterator[pa.RecordBatch]:
    with connection.cursor() as cursor, _copying_out(cursor, table, columns) as copy:
        pieces = io.BufferedReader(_Pieces(copy, digest), _BLOCK)
        if not pieces.peek(1):  # pyarrow refuses an empty text
            return
        yield from pacsv.open_csv(
            pieces,
            read_options=pacsv.ReadOptions(column_names=schema.names, block_size=_BLOCK, use_threads=False),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=dict(zip(schema.names, schema.types, strict=True)),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Row groups of about the same size, from batches of any size."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _GROUP_ROWS:
            yield pa.Table.from_batches(waiting)
            waiting, rows = [], 0
    if rows:
        yield pa.Table.from_batches(waiting)
