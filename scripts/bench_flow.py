"""Measures the CPU microseconds per message of each process, from the request to the row in ClickHouse.

Every process runs once. Messages come as single sends for some seconds, or as batches of 1,000; the operator simulator
answers at once and reports each message as delivered. A run ends when every message is delivered in PostgreSQL and in
ClickHouse. PostgreSQL's figure includes the work for all processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import psycopg
from clickhouse_driver import Client

from apps.devservices.gateway import NAMES, OPERATOR_SIMULATOR, Gateway
from apps.devservices.processes import ServiceError, wait_until
from scripts import bench_cpu, load

BATCH = 1_000
# The embedded broker keeps 5 MiB per partition: the sender must not outrun the workers.
SECONDS, BATCH_SECONDS = 5.0, 0.5
SIMULATOR = ["--answer-delay", "0", "0", "--receipt-delay", "0", "100", "--no-magic-numbers"]

_MESSAGES = "SELECT count(*) FROM sms_message"
_DELIVERED = "SELECT count(*) FROM sms_statusentry WHERE status = 'delivered'"
_REPORTED = "SELECT count() FROM sms_messages WHERE status = 'delivered'"


def flow(
    directory: Path, environ: Mapping[str, str], *, customers: Sequence[str], workers: int, batches: bool
) -> dict[str, object]:
    """Run once; return the figures. Raises ServiceError unless every message was delivered."""
    with (
        psycopg.connect(environ["DATABASE_URL"], autocommit=True) as database,
        Gateway(directory=directory, environ=environ, workers=workers, simulator_options=SIMULATOR) as gateway,
    ):
        clickhouse = Client.from_url(environ["CLICKHOUSE_URL"])
        before = _count(database, _MESSAGES), _count(database, _DELIVERED), clickhouse.execute(_REPORTED)[0][0]
        gateway.start_all()
        gateway.wait_ready()
        watched = {name: [psutil.Process(gateway.pid(name))] for name in NAMES}
        watched["postgresql"] = [bench_cpu.service("postgresql", environ)]
        watched["kafka (embedded)"] = [bench_cpu.service("kafka (embedded)", environ)]
        watched["clickhouse (chDB)"] = [bench_cpu.service("clickhouse (chDB)", environ)]
        spent = {name: sum(map(bench_cpu.seconds, processes)) for name, processes in watched.items()}
        started = time.monotonic()
        if batches:
            run = load.batches(gateway.api_url, customers=customers, size=BATCH, connections=1, seconds=BATCH_SECONDS)
        else:
            run = load.single_sends(gateway.api_url, customers=customers, connections=32, seconds=SECONDS)
        if run.failed:
            raise ServiceError(f"{run.failed} requests were refused.")
        messages = _count(database, _MESSAGES) - before[0]

        def all_there() -> bool:
            gateway.check()
            return (
                _count(database, _DELIVERED) - before[1] >= messages
                and clickhouse.execute(_REPORTED)[0][0] - before[2] >= messages
            )

        if not wait_until(all_there, timeout=600):
            raise ServiceError(f"Not all of {messages} messages were delivered and reported.")
        elapsed = time.monotonic() - started
        cost = {
            name: round((sum(map(bench_cpu.seconds, processes)) - spent[name]) * 1e6 / messages)
            for name, processes in watched.items()
        }
        clickhouse.disconnect()
    simulated = cost.pop(OPERATOR_SIMULATOR)
    return {
        "bench": "flow",
        "requests": f"batches of {BATCH}" if batches else "single sends, 32 connections",
        "value": sum(cost.values()),
        "unit": "CPU microseconds a message, all processes of the gateway and its services",
        "cpu_us_per_message": cost,
        "simulator_cpu_us_per_message": simulated,
        "messages": messages,
        "accepted_per_second": round(run.rate),
        "whole_way_per_second": round(messages / elapsed),
        "load_generator_cpu_share": round(run.cpu_share, 3),
        "cpus": os.cpu_count(),
    }


def _count(database: psycopg.Connection, query: str) -> int:
    (count,) = database.execute(query).fetchone() or (0,)
    return int(count)
