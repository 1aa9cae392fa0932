"""The cases of `make bench COMPARE=` and `PROFILE=`, and one run of a case on a fresh copy of a version's database."""

from __future__ import annotations

import contextlib
import json
import os
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
import psycopg

from apps.devservices import stack
from apps.devservices.processes import ServiceError, wait_until
from scripts import bench_check, bench_cpu, load
from scripts.bench_processes import Processes
from scripts.bench_versions import Version
from smsgateway import config, ids

BALANCE: Final = 10**15  # nobody runs out
BATCH: Final = 1_000
# What the API does not need. Nothing listens there, so that a version which asks anyway is seen to.
_NOWHERE: Final = {"KAFKA_BROKERS": "127.0.0.1:9", "CLICKHOUSE_URL": "clickhouse://127.0.0.1:9/default"}
_TOKEN: Final = "receipts-of-the-benchmark"  # noqa: S105
_TOPICS: Final = ("accepted", "delivery", "status", "held", "suspended", "dead_letter", "routes")
# Messages that may wait in the embedded broker, which keeps only the newest 5 MiB of a partition.
_AHEAD: Final = 10_000


class Case(NamedTuple):
    """`script`: wrk's. `environ`: settings that the case needs; all others are as the version ships them. `size`:
    messages in a request. `customers`: so many of them in turn; 0: all."""

    name: str
    about: str
    connections: int
    script: str = "send.lua"
    unit: str = "messages"
    environ: Mapping[str, str] = {}
    size: int = 1
    customers: int = 0
    keys: bool = False


_UNLIMITED: Final = {"API_MESSAGES_PER_MINUTE": str(10**9)}
CASES: Final = {
    case.name: case
    for case in (
        Case("send", "single sends", 64),
        Case(
            "full",
            "single sends with API_KEYS=required, an Idempotency-Key each and rate limits",
            64,
            environ={"API_KEYS": "required"},
            keys=True,
        ),
        Case("hot", "single sends of one customer", 64, environ=_UNLIMITED, customers=1),
        Case("one", "single sends over one connection", 1),
        Case("receipts", "HTTP receipts of submitted messages", 64, script="receipts.lua", unit="receipts"),
        Case("batch", f"batches of {BATCH} messages", 2, "batch.lua", environ=_UNLIMITED, size=BATCH, customers=100),
    )
}


class Measured(NamedTuple):
    """One run. CPU time in microseconds, and bytes of PostgreSQL's write-ahead log, per message (or receipt)."""

    rate: float
    p50_ms: float
    p99_ms: float
    api_us: float
    postgres_us: float
    wal_bytes: float
    generator_us: float


class Side(NamedTuple):
    """A version with its databases, which its own migrations made. `customers`: their ids and API keys."""

    version: Version
    server: str
    environ: dict[str, str]
    customers: list[dict[str, str]]
    folder: Path

    def url(self, database: str) -> str:
        return database_url(self.server, database)

    @property
    def template(self) -> str:
        return f"bench_{self.version.key}"


@contextlib.contextmanager
def services(directory: Path, *, kafka: bool, server: str | None = None) -> Iterator[dict[str, str]]:
    """PostgreSQL with fsync, or `server`, the URL of another; and Kafka if asked for, while the block runs.

    Yields the addresses.
    """
    given = {name: value for name, value in _NOWHERE.items() if name != "KAFKA_BROKERS" or not kafka}
    given |= {"DATABASE_URL": server} if server else {}
    try:
        yield given | stack.up(directory, environ=given, bound_to_pid=os.getpid())
    finally:
        stack.down(directory)


def database_url(server: str, database: str) -> str:
    """The URL of another database of the same server."""
    return f"{server.rpartition('/')[0]}/{database}"


def prepare(
    version: Version, *, addresses: Mapping[str, str], directory: Path, customers: int, settings: Mapping[str, str]
) -> Side:
    """Create its database by its own migrations, with this many customers. `settings`: on top of its defaults."""
    server = addresses["DATABASE_URL"]
    unset = dict.fromkeys((name for _, _, name, _, _ in config.declarations()), "")
    environ = {
        **os.environ,
        **unset,
        **addresses,
        "DEVSERVICES_DIR": str(directory),
        "LOG_LEVEL": "warning",
        "OPERATOR_MCI_RECEIPT_TOKEN": _TOKEN,
        **settings,
    }
    side = Side(version, server, environ, [], directory / "logs" / version.key)
    with psycopg.connect(side.url("postgres"), autocommit=True) as database:
        database.execute(f"DROP DATABASE IF EXISTS {side.template} WITH (FORCE)")
        database.execute(f"CREATE DATABASE {side.template}")
    environ["DATABASE_URL"] = side.url(side.template)
    version.manage("migrate", environ=environ)
    plans = [f"bench-{number}:1000:{BALANCE}" for number in range(customers)]
    seeded = json.loads(version.manage("seed", "--keys", *plans, environ=environ))
    with psycopg.connect(side.url(side.template), autocommit=True) as database:
        database.execute("VACUUM ANALYZE")
    return side._replace(customers=list(seeded.values()))


def submit_messages(side: Side, count: int) -> Side:
    """Send this many messages through all processes of the version until the operator has them. Returns the side whose
    template holds them; their ids are in its folder."""
    own = f"bench.{uuid.uuid4().hex[:8]}"
    topics = {f"KAFKA_TOPIC_{name.upper()}": f"{own}.{name}" for name in _TOPICS}
    environ = side.environ | topics | _UNLIMITED | {"KAFKA_CONSUMER_GROUP_PREFIX": own}
    side.version.manage("create_kafka_topics", environ=environ)
    with (
        Processes(side.version, environ=environ, logs=side.folder) as processes,
        psycopg.connect(side.url(side.template), autocommit=True) as database,
    ):
        processes.start("operators", "--answer-delay 0 0 --no-receipt-rate 1 --no-magic-numbers")
        for name in ("api", "relay", "deliver", "settle"):
            processes.start(name)
        processes.wait_ready()
        sent = 0
        submitted = "SELECT count(*) FROM sms_statusentry WHERE status = 'submitted'"
        for part in range(0, count, BATCH):
            customer = side.customers[part // BATCH % len(side.customers)]["id"]
            sent += load.send_batch(processes.api_url, customer=customer, size=BATCH, first=part, prefix="912")
            least = sent if sent >= count else sent - _AHEAD

            def are_submitted(least: int = least) -> bool:
                processes.check()
                return bench_check.number(database, submitted) >= least

            if not wait_until(are_submitted, timeout=300):
                raise ServiceError(f"{side.version.name}: not all of {sent} messages were submitted within 5 minutes.")
        rows: list[Any] = database.execute(
            "SELECT message_id, operator, operator_message_id FROM sms_statusentry WHERE status = 'submitted'"
        ).fetchall()
        database.execute("VACUUM ANALYZE")
    if {operator for _, operator, _ in rows} != {"mci"}:
        raise ServiceError(f"{side.version.name}: not all messages were submitted to mci.")
    random.Random(1).shuffle(rows)
    lines = (f"{ids.to_text(message)} {operator_id}\n" for message, _, operator_id in rows)
    _receipts(side).write_text("".join(lines))
    return side


def run(
    side: Side,
    case: Case,
    *,
    connections: int,
    seconds: float,
    warm_up: float,
    beside: Callable[[Processes], object] = lambda processes: None,
) -> Measured:
    """Start the API on a fresh copy of the side's database, warm it up, measure, stop it, and check what it stored.

    `beside` is called after the warm-up, and must not wait. Raises ServiceError if the API answered anything but 200,
    or if the database does not hold what it answered.
    """
    database = f"{side.template}_run"
    _copy_template(side, database)
    rows = bench_check.RECEIPTS if case.unit == "receipts" else bench_check.MESSAGES
    before = bench_check.stored(side.url(database), rows).rows
    environ = side.environ | case.environ | {"DATABASE_URL": side.url(database)}
    with api(side, environ) as processes:
        warm = _load(side, case, processes, part=0, connections=connections, seconds=warm_up)
        watched = {"api": processes.process("api"), "postgres": _postmaster(side.url(database))}
        beside(processes)
        spent = {name: bench_cpu.seconds(process) for name, process in watched.items()}
        logged = _logged(side.url(database))
        found = _load(side, case, processes, part=1, connections=connections, seconds=seconds)
        cost = {name: bench_cpu.seconds(process) - spent[name] for name, process in watched.items()}
        logged = _logged(side.url(database)) - logged
        processes.check()
    for one in (warm, found):
        if one.failed or not one.requests:
            raise ServiceError(
                f"{side.version.name}, {case.name}: {one.failed} of {one.requests} requests failed:"
                f" {one.why or 'no answer at all'} (logs: {side.folder})."
            )
    bench_check.require_stored(
        bench_check.stored(side.url(database), rows),
        answered=(warm.requests + found.requests) * case.size,
        unanswered=2 * connections * case.size,
        before=before,
        who=f"{side.version.name}, {case.name}",
    )
    each = 1e6 / (found.requests * case.size)
    return Measured(
        rate=found.rate,
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        api_us=cost["api"] * each,
        postgres_us=cost["postgres"] * each,
        wal_bytes=logged * each / 1e6,
        generator_us=found.cpu_seconds * each,
    )


@contextlib.contextmanager
def api(side: Side, environ: Mapping[str, str]) -> Iterator[Processes]:
    """The version's API while the block runs."""
    with Processes(side.version, environ=environ, logs=side.folder) as processes:
        processes.start("api")
        processes.wait_ready()
        yield processes


def _load(side: Side, case: Case, processes: Processes, *, part: int, connections: int, seconds: float) -> load.Run:
    """`part`: 0 for the warm-up, 1 for the run: receipts are sent once each."""
    chosen = side.customers[: case.customers or None]
    environ = {
        "BENCH_CUSTOMERS": ",".join(customer["id"] for customer in chosen),
        "BENCH_KEYS": ",".join(customer["key"] for customer in chosen) if case.keys else "",
        "BENCH_SIZE": str(case.size),
    }
    if case.unit == "receipts":
        environ |= {"BENCH_RECEIPTS": str(_part_of_receipts(side, part)), "BENCH_TOKEN": _TOKEN}
    return load.wrk(
        processes.api_url,
        script=load.SCRIPT.with_name(case.script),
        connections=connections,
        seconds=seconds,
        environ=environ,
        size=case.size,
    )


def _part_of_receipts(side: Side, part: int) -> Path:
    """The first quarter is for the warm-up."""
    lines = _receipts(side).read_text().splitlines(keepends=True)
    cut = len(lines) // 4
    file = side.folder / f"receipts-{part}.txt"
    file.write_text("".join(lines[cut:] if part else lines[:cut]))
    return file


def _receipts(side: Side) -> Path:
    return side.folder / "receipts.txt"


def _copy_template(side: Side, database: str) -> None:
    """Every run finds the same rows, the same indexes, and a server that has just written them to disk."""
    with psycopg.connect(side.url("postgres"), autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {database} TEMPLATE {side.template}")
        server.execute("CHECKPOINT")


def _logged(url: str) -> int:
    """Bytes that the server has written to its write-ahead log."""
    with psycopg.connect(url, autocommit=True) as database:
        return bench_check.number(database, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")


def _postmaster(url: str) -> psutil.Process:
    with psycopg.connect(url, autocommit=True) as database:
        parent = psutil.Process(bench_check.number(database, "SELECT pg_backend_pid()")).parent()
    if parent is None:
        raise ServiceError("PostgreSQL's main process is not to be seen on this machine.")
    return parent
