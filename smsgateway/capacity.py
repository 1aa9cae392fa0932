"""What a rate of messages needs: processes, Kafka partitions, disk. Calculated from measured numbers.

The rates of processes are those of docs/explanation/performance.md, with half of them in reserve. The bytes are in
docs/howto/plan-capacity.md, with how each was measured.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final, NamedTuple

from smsgateway.config import Config

# Bytes of a message in PostgreSQL, by table, indexes included: one segment, two statuses, one submitted part.
POSTGRES_BYTES: Final = {"messages": 327, "statuses": 285, "ledger": 189, "submits": 258}
# Bytes of a message in its Parquet files, by table.
ARCHIVE_BYTES: Final = {"messages": 23, "statuses": 23, "ledger": 33, "submits": 25}
WAL_BYTES: Final = 3_000
# One copy, compressed by producers in batches: accepted, its work order, two statuses.
KAFKA_BYTES: Final = 600
CLICKHOUSE_BYTES: Final = 60

# Messages a second of one process; half of what was measured.
_PER_PROCESS: Final = {"relay": 5_000, "deliver": 1_500, "settle": 1_500, "ingest": 18_000}
_SENDS_PER_API_PROCESS: Final = 500
_MESSAGES_PER_POSTGRES_CORE: Final = 1_000
_LEAST_PARTITIONS: Final = 12
_SECONDS_A_DAY: Final = 86_400


class Disk(NamedTuple):
    """Bytes of one store: those of a day, and those of everything that is kept. `kept`: how long, in words."""

    store: str
    per_message: float
    per_day: float
    total: float
    kept: str


@dataclasses.dataclass(frozen=True, slots=True)
class Capacity:
    """What a rate needs. `processes`: copies by name. `settings`: those to change, with their values."""

    processes: dict[str, int]
    postgres_cores: int
    kafka_partitions: int
    disks: list[Disk]
    settings: dict[str, int]


def capacity(config: Config, *, rate: float, days: int, hours: float = 24) -> Capacity:
    """For `rate` messages a second during `hours` of each day, kept `days` days in PostgreSQL."""
    copies = {name: _copies(rate / per_process) for name, per_process in _PER_PROCESS.items()}
    processes = {"api": max(_copies(rate / _SENDS_PER_API_PROCESS), 2), **copies}
    # Each partition has one reader: as many again leave room to grow, since raising the number moves customers.
    partitions = max(_LEAST_PARTITIONS, 2 * max(copies["deliver"], copies["settle"], copies["ingest"]))
    daily = rate * hours * 3600
    return Capacity(
        processes=processes,
        postgres_cores=_copies(rate / _MESSAGES_PER_POSTGRES_CORE),
        kafka_partitions=partitions,
        disks=_disks(config, daily=daily, days=days),
        settings=_settings(config, days=days, partitions=partitions),
    )


def _copies(exact: float) -> int:
    return max(1, math.ceil(exact))


def _kept(config: Config, days: int) -> dict[str, int]:
    """Days that each table stays in PostgreSQL."""
    own = config.partitions
    return {
        "messages": days,
        "statuses": days,
        "ledger": max(days, own.ledger_keep_days) if own.ledger_keep_days else days,
        "submits": min(days, own.submits_keep_days) if own.submits_keep_days else days,
    }


def _disks(config: Config, *, daily: float, days: int) -> list[Disk]:
    kept = _kept(config, days)
    postgres = sum(POSTGRES_BYTES.values())
    in_postgres = daily * sum(POSTGRES_BYTES[table] * kept[table] for table in POSTGRES_BYTES)
    words = ", ".join(f"{table} {count} d" for table, count in kept.items())
    kafka = KAFKA_BYTES * config.kafka.replication
    raw_days = config.clickhouse.raw_kept_days
    archive = sum(ARCHIVE_BYTES.values())
    return [
        Disk("PostgreSQL", postgres, daily * postgres, in_postgres, words),
        Disk("PostgreSQL's WAL archive", WAL_BYTES, daily * WAL_BYTES, 8 * daily * WAL_BYTES, "8 d (weekly backups)"),
        Disk(
            f"Kafka, {config.kafka.replication} copies",
            kafka,
            daily * kafka,
            daily * kafka * config.kafka.retention_days,
            f"KAFKA_RETENTION_DAYS {config.kafka.retention_days} d",
        ),
        Disk(
            "ClickHouse",
            CLICKHOUSE_BYTES,
            daily * CLICKHOUSE_BYTES,
            daily * CLICKHOUSE_BYTES * (raw_days or 365),
            f"CLICKHOUSE_RAW_KEPT_DAYS {raw_days} d" if raw_days else "permanently: a year is shown",
        ),
        Disk("archive (Parquet)", archive, daily * archive, daily * archive * 365, "permanently: a year is shown"),
    ]


def _settings(config: Config, *, days: int, partitions: int) -> dict[str, int]:
    """The settings to change, with their values."""
    wanted = {
        "PARTITION_MESSAGES_KEEP_DAYS": (config.partitions.messages_keep_days, days),
        "PARTITION_STATUSES_KEEP_DAYS": (config.partitions.statuses_keep_days, days),
        "KAFKA_PARTITIONS": (config.kafka.partitions, partitions),
    }
    return {name: value for name, (now, value) in wanted.items() if now != value}
