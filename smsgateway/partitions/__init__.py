"""Range partitions on a ULID column: created ahead, archived when they are old, restored on request.

A ULID begins with its time, so a day or a month is a range of ids. There is no DEFAULT partition, because PostgreSQL
cannot detach concurrently from a table that has one. An insert without a partition therefore fails, with no effect.

    spans         days and months as ranges of ids, their names, and which are missing (no database)
    catalog       the partitions in PostgreSQL; creates them
    lock          lets one maintenance run at a time
    table         a partitioned table, and its app's part in archiving
    archive       seals, detaches, copies, verifies and drops a partition; each step can be repeated
    parquet       converts rows to Parquet and back, byte for byte
    store         the archive: a folder, or an S3 bucket
    restore       attaches an archived partition again
    indexing      builds indexes while sends continue
    maintenance   the daily job
    lookup        whether the row of an id is in the archive
"""

from smsgateway.partitions.catalog import DAYS_AHEAD, TABLES, all_days_ahead, create, days_ahead, names
from smsgateway.partitions.spans import name_of

__all__ = ["DAYS_AHEAD", "TABLES", "all_days_ahead", "create", "days_ahead", "name_of", "names"]
