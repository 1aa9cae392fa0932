"""Range partitions on a ULID column: made ahead, archived when they are old, restored when they are asked for.

A ULID begins with its time, so a day or a month is a range of ids. There is no DEFAULT partition: it would forbid
detaching concurrently. So an insert without a partition fails, with nothing done.

    spans         ranges of ids, and which are missing (no database)
    catalog       what PostgreSQL has; making partitions
    engine        a partitioned table and what its app must do around its archive; the lock of the maintenance
    archiving     seal, detach, copy, verify, drop: each step can be repeated
    parquet       rows to Parquet and back, byte for byte
    store         a folder, or a bucket that speaks S3
    restoring     back from the archive
    indexing      indexes built while sends go on
    maintenance   the daily job
    archived      what is asked of the archive by everybody else
"""

from smsgateway.partitions.catalog import DAYS_AHEAD, TABLES, all_days_ahead, create, days_ahead, names
from smsgateway.partitions.spans import name_of

__all__ = ["DAYS_AHEAD", "TABLES", "all_days_ahead", "create", "days_ahead", "name_of", "names"]
