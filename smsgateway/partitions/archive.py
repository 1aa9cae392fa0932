"""Archives a partition: seal, detach, copy, verify, drop.

If the process dies, the next run continues from the state that the last completed step left:

1. sealed    one transaction: writes to the partition are refused, its app has closed it, its record exists
2. detached  concurrently, without blocking others; an interrupted detach is finalized
3. copied    to a Parquet file; a repeat writes the file again from the start
4. verified  the stored file was read back: its rows and checksum are those of the partition; the manifest is written
5. archived  one transaction: the table is dropped and the record updated
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import structlog
from django.db import connection, transaction
from psycopg import sql

from smsgateway import ids
from smsgateway.models import ArchivedPartition
from smsgateway.partitions import parquet
from smsgateway.partitions.catalog import Partition, attached, exists
from smsgateway.partitions.store import Store
from smsgateway.partitions.table import Held, PartitionedTable, Trouble, Waits, crash_point, database_now

log = structlog.get_logger(__name__)

State = ArchivedPartition.State


def partition_archive(table: PartitionedTable, partition: Partition, *, store: Store) -> ArchivedPartition:
    """Archive an attached partition. Raises Held, Trouble, django.db.Error, OSError; it can then be called again."""
    if partition.span.end > database_now():
        raise Trouble(f"{partition.name} has not ended: it still gets rows.")
    for other in attached(*table.after) if table.after else ():
        if other.span.overlaps(partition.span):
            raise Waits(f"{partition.name} must wait: {other.name} is archived first.")
    if reason := table.held(partition):
        raise Held(f"{partition.name} is held: {reason}")
    record = seal(table, partition)
    log.info("partition_sealed", partition=partition.name)
    crash_point("sealed")
    return archive_resume(table, record, store=store)


def archive_resume(table: PartitionedTable, record: ArchivedPartition, *, store: Store) -> ArchivedPartition:
    """Continue with a sealed partition after the last completed step."""
    if record.state == State.SEALED:
        _detach(record)
        crash_point("detached")
        _copy(record, store)
        crash_point("verified")
    if record.state == State.VERIFIED:
        _drop(record)
        crash_point("dropped")
    if record.number > 1:
        for name in file_names(record, number=record.number - 1):
            store.delete(name)
    return record


def file_names(record: ArchivedPartition, *, number: int) -> tuple[str, str]:
    """The names of the file of rows and of the manifest."""
    stem = f"{record.parent}/{record.partition}.{number}"
    return f"{stem}.parquet", f"{stem}.manifest.json"


@transaction.atomic
def seal(table: PartitionedTable, partition: Partition) -> ArchivedPartition:
    """Refuse further writes to the partition, and let its app close it."""
    with connection.cursor() as cursor:
        # Waits for transactions that write to it; reads continue.
        cursor.execute(
            sql.SQL(
                "CREATE TRIGGER partition_sealed BEFORE INSERT OR UPDATE OR DELETE ON {}"
                " FOR EACH ROW EXECUTE FUNCTION partition_sealed()"
            ).format(sql.Identifier(partition.name))
        )
    table.close(partition.name)
    record, _ = ArchivedPartition.objects.get_or_create(
        partition=partition.name,
        defaults={
            "parent": partition.table,
            "low": partition.span.low,
            "high": partition.span.high,
            "state": State.SEALED,
            "number": 0,
            "sealed_at": database_now(),
        },
    )
    record.state, record.sealed_at, record.number = State.SEALED, database_now(), record.number + 1
    record.archived_at = record.keep_until = None
    record.save()
    return record


def _detach(record: ArchivedPartition) -> None:
    found = next((one for one in attached(record.parent) if one.name == record.partition), None)
    if found is None:
        if not exists(record.partition):
            raise Trouble(f"{record.partition} is recorded as sealed but does not exist: was it dropped by hand?")
        return
    how = "FINALIZE" if found.is_leaving else "CONCURRENTLY"
    with connection.cursor() as cursor:
        # It holds no lock on the parent while it waits for transactions that still see the partition. If they do not
        # end in time, the detach stays pending: new statements do not see the partition, and the next run finalizes it.
        cursor.execute("SET lock_timeout = '60s'")
        try:
            cursor.execute(
                sql.SQL("ALTER TABLE {} DETACH PARTITION {} {}").format(
                    sql.Identifier(record.parent), sql.Identifier(record.partition), sql.SQL(how)
                )
            )
        finally:
            cursor.execute("SET lock_timeout = '2s'")
    log.info("partition_detached", partition=record.partition, how=how.lower())


def _copy(record: ArchivedPartition, store: Store) -> None:
    file, manifest_file = file_names(record, number=record.number)
    columns = parquet.columns_of(record.partition)
    written = parquet.write_file(record.partition, columns, store=store, name=file)
    log.info("partition_copied", partition=record.partition, rows=written.rows, file=file)
    crash_point("copied")
    digest, size = store.digest(file)
    back = parquet.read_file(store, file)
    if (back.rows, back.content) != (written.rows, written.content):
        raise Trouble(
            f"{file} reads back differently than written: {back.rows} rows of {written.rows}. Nothing was dropped."
        )
    record.manifest = _manifest(record, columns, written, file=file, sha256=digest, size=size)
    store.write(manifest_file, json.dumps(record.manifest, indent=1).encode())
    record.state = State.VERIFIED
    record.save(update_fields=["state", "manifest"])
    log.info("partition_verified", partition=record.partition, rows=back.rows, bytes=size, sha256=digest)


def _manifest(
    record: ArchivedPartition,
    columns: list[parquet.Column],
    written: parquet.Copied,
    *,
    file: str,
    sha256: str,
    size: int,
) -> dict[str, Any]:
    return {
        "format": 1,
        "table": record.parent,
        "partition": record.partition,
        "from": ids.moment(record.low).isoformat(),
        "to": ids.moment(record.high).isoformat(),
        "rows": written.rows,
        "min_id": written.first,
        "max_id": written.last,
        "file": file,
        "bytes": size,
        "sha256": sha256,
        "content_sha256": written.content,
        "schema_version": parquet.schema_version(columns),
        "columns": [list(column) for column in columns],
        "written_at": dt.datetime.now(tz=dt.UTC).isoformat(),
    }


@transaction.atomic
def _drop(record: ArchivedPartition) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(record.partition)))
    record.state, record.archived_at = State.ARCHIVED, database_now()
    record.save(update_fields=["state", "archived_at"])
    log.info("partition_archived", partition=record.partition)
