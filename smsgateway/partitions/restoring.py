"""A partition comes back from the archive, and is attached again.

All in one transaction: whoever looks sees all of its rows or none, and a crash leaves nothing. The rows are checked
against the archive's checksum before they are attached; a CHECK constraint says that they are in the partition's range,
so that attaching does not look through them.
"""

from __future__ import annotations

import datetime as dt

import structlog
from django.db import connection, transaction
from psycopg import sql

from smsgateway import ids
from smsgateway.models import ArchivedPartition
from smsgateway.partitions import parquet
from smsgateway.partitions.archiving import State
from smsgateway.partitions.catalog import attach, attached, exists, like
from smsgateway.partitions.spans import Span
from smsgateway.partitions.store import Store
from smsgateway.partitions.table import PartitionedTable, Trouble, database_now

log = structlog.get_logger(__name__)


def partition_restore(
    table: PartitionedTable, record: ArchivedPartition, *, store: Store, keep: dt.timedelta
) -> ArchivedPartition:
    """Attach an archived partition again, to stay for `keep`; its archive stays as it is.

    One whose archiving has not ended is simply attached. Raises Trouble, and then nothing has changed; OSError.
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
            raise Trouble(f"{record.parent} has no column {', '.join(gone)} any more; {name} has.")
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
        raise Trouble(f"{name} is still attached, or on its way out. Run manage.py partitions archive {name} first.")
    if not exists(name):
        raise Trouble(f"{name} does not exist and its archive is not whole.")
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TRIGGER IF EXISTS partition_sealed ON {}").format(sql.Identifier(name)))
