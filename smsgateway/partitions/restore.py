"""Restores a partition from the archive and attaches it again.

All of it is one transaction: readers see all rows or none, and a crash leaves nothing behind. The rows are checked
against the archive's checksum before they are attached. A CHECK constraint states that they are in the partition's
range, so PostgreSQL does not scan them when it attaches the table.
"""

from __future__ import annotations

import datetime as dt

import structlog
from django.db import connection, transaction
from psycopg import sql

from smsgateway import ids
from smsgateway.models import ArchivedPartition
from smsgateway.partitions import parquet
from smsgateway.partitions.archive import State
from smsgateway.partitions.catalog import attach, attached, exists, like
from smsgateway.partitions.spans import Span
from smsgateway.partitions.store import Store
from smsgateway.partitions.table import PartitionedTable, Trouble, database_now

log = structlog.get_logger(__name__)


def partition_restore(
    table: PartitionedTable, record: ArchivedPartition, *, store: Store, keep: dt.timedelta
) -> ArchivedPartition:
    """Attach an archived partition again and keep it for `keep`; its archive does not change.

    A partition whose archiving has not ended is only attached. Raises OSError, and Trouble if nothing has changed.
    """
    if record.state == State.RESTORED:
        record.keep_until = database_now() + keep
        record.save(update_fields=["keep_until"])
        return record
    span = Span(ids.moment(record.low), ids.moment(record.high))
    with transaction.atomic(), connection.cursor() as cursor:
        if record.state == State.ARCHIVED:
            _load(record, span, table, store)
        else:
            _unseal(record)
        cursor.execute(attach(record.parent, record.partition, span))
        table.reopen(record.partition)
        record.state, record.keep_until = State.RESTORED, database_now() + keep
        record.save(update_fields=["state", "keep_until"])
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(record.partition)))
    log.info("partition_restored", partition=record.partition, keep_until=str(record.keep_until))
    return record


def _load(record: ArchivedPartition, span: Span, table: PartitionedTable, store: Store) -> None:
    manifest = record.manifest
    name = record.partition
    if store.digest(manifest["file"])[0] != manifest["sha256"]:
        raise Trouble(f"{manifest['file']} is not the file that was archived: its SHA-256 differs.")
    columns = [parquet.Column(*column) for column in manifest["columns"]]
    with connection.cursor() as cursor:
        cursor.execute(like(record.parent, name))
        now = {column.name for column in parquet.columns_of(name)}
        if gone := [column.name for column in columns if column.name not in now]:
            raise Trouble(f"{record.parent} no longer has the column {', '.join(gone)} of {name}.")
        within = sql.SQL("ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({column} >= {low} AND {column} < {high})")
        cursor.execute(
            within.format(
                table=sql.Identifier(name),
                check=sql.Identifier(f"{name}_span"),
                column=sql.Identifier(table.column),
                low=sql.Literal(str(span.low)),
                high=sql.Literal(str(span.high)),
            )
        )
        named = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(name), named)
        with cursor.copy(into) as copy:
            for batch in parquet.file_batches(store, manifest["file"]):
                copy.write(parquet.to_csv(batch))
        if parquet.content_of(name, columns) != manifest["content_sha256"]:
            raise Trouble(f"{name} does not have the rows that were archived. It was not attached.")


def _unseal(record: ArchivedPartition) -> None:
    name = record.partition
    if any(one.name == name for one in attached(record.parent)):
        raise Trouble(f"{name} is still attached or being detached. Run manage.py partitions archive {name} first.")
    if not exists(name):
        raise Trouble(f"{name} does not exist and its archive is not complete.")
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TRIGGER IF EXISTS partition_sealed ON {}").format(sql.Identifier(name)))
