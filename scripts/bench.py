"""Measures how many messages per second the API accepts and a worker delivers. Prints JSON lines with named figures.

It uses its own services in .devservices/bench (PostgreSQL with fsync, as by default) and the API as in production:
gunicorn with 4 processes of 2 threads, default settings otherwise, LOG_LEVEL=warning. The load comes from the same
machine; `load_generator_cpu_share` is its share of all processors' time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, cast

import psutil
import psycopg

from apps.devservices import stack
from apps.devservices.demo.run import manage
from apps.devservices.gateway import API, DELIVER, Gateway
from apps.devservices.processes import PROJECT_ROOT, ServiceError
from scripts import bench_backlog, bench_check, bench_delivery, bench_flow, bench_ingest, bench_statistics, load
from smsgateway import config

DIRECTORY = PROJECT_ROOT / ".devservices" / "bench"
CONNECTIONS = (1, 8, 32, 64)
BATCHES = (1_000, 10_000)
CUSTOMERS = 100
MANY = 1000
BACKLOG = "backlog"
INGEST = "ingest"
STATISTICS = "statistics"
FULL = "full"
FLOW = "flow"
LOCKS = ("row", "advisory")
QUIET_RATE, FLOOD_RATE = 50.0, 100.0  # sends per second; the flood has a limit of 6,000 per minute
BALANCE = 10**15  # nobody runs out
WORKERS = len(os.sched_getaffinity(0))  # the default of HTTP_WORKERS

# Rows of an earlier benchmark would make every index deeper.
EMPTY = """
TRUNCATE sms_message, sms_statusentry, sms_outboxentry, sms_scheduledentry, sms_submittedpart, sms_waitingreceipt,
         sms_idempotencyrecord, balance_ledgerentry, balance_closing,
         balance_account, customers_customer CASCADE
"""


def main() -> int:
    arguments = _arguments()
    failed = 0
    try:
        addresses = stack.up(DIRECTORY, environ={}, bound_to_pid=os.getpid())
        unset = dict.fromkeys((name for _, _, name, _, _ in config.declarations()), "")
        own = {
            "DEVSERVICES_DIR": str(DIRECTORY),
            "LOG_LEVEL": "warning",
            "HTTP_THREADS": "2",
            "API_MESSAGES_PER_MINUTE": "1000000000",
        }
        environ = {**os.environ, **unset, **addresses, **own}
        for command in ("migrate", "clickhouse_migrate", "create_kafka_topics"):
            manage(command, environ=environ)
        with psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as database:
            database.execute(EMPTY)
            plans = [f"bench-{number}:100:{BALANCE}" for number in range(MANY)]
            seeded = json.loads(manage("seed", "--keys", *plans, environ=environ)).values()
            customers, keys = [one["id"] for one in seeded], [one["key"] for one in seeded]
            for lock in LOCKS:
                kinds = [kind for kind in arguments.only if kind in KINDS and (kind == "lock" or lock == LOCKS[0])]
                if not kinds:
                    continue
                with Gateway(
                    directory=DIRECTORY / "logs", environ=environ | {"BALANCE_LOCK": lock}, workers=WORKERS
                ) as gateway:
                    gateway.start(API)
                    gateway.wait_ready()
                    load.single_sends(gateway.api_url, customers=customers, connections=8, seconds=3)  # warm up
                    bench = _bench(gateway, customers, arguments, lock)
                    for kind in kinds:
                        failed += KINDS[kind](bench)
                    gateway.check()
            if FULL in arguments.only:
                failed += _full(environ, customers, keys, arguments)
            if FLOW in arguments.only:
                for batches in (False, True):
                    _tell(
                        bench_flow.flow(
                            DIRECTORY / "logs",
                            environ,
                            customers=customers[:CUSTOMERS],
                            workers=WORKERS,
                            batches=batches,
                        )
                    )
            if BACKLOG in arguments.only:
                _tell(_backlog(environ, arguments))
            if INGEST in arguments.only:
                _tell(_ingest(environ, arguments))
            if STATISTICS in arguments.only:
                for found in bench_statistics.statistics(environ, events=arguments.events):
                    _tell(found)
            if DELIVER in arguments.only:
                for deliver in (bench_delivery.deliver, bench_delivery.deliver_smpp):
                    runs = [
                        deliver(DIRECTORY / "logs", environ, messages=arguments.messages) for _ in range(arguments.runs)
                    ]
                    runs.sort(key=lambda run: cast(int, run["value"]))
                    _tell(runs[len(runs) // 2] | {"runs": [run["value"] for run in runs]})
            wrong, unpaid = (bench_check.number(database, query) for query in (bench_check.WRONG, bench_check.UNPAID))
    finally:
        stack.down(DIRECTORY)
    _tell({"bench": "check", "not_200": failed, "balance_not_ledger_sum": wrong, "messages_not_charged_once": unpaid})
    return 1 if failed or wrong or unpaid else 0


def _ingest(environ: Mapping[str, str], arguments: argparse.Namespace) -> dict[str, object]:
    """With Apache Kafka: the embedded broker keeps only 100,000 messages per partition."""
    directory = DIRECTORY.with_name("bench-kafka")
    only_kafka = {name: environ[name] for name in ("DATABASE_URL", "CLICKHOUSE_URL")}
    addresses = stack.up(directory, kafka="apache", environ=only_kafka, bound_to_pid=os.getpid())
    try:
        return bench_ingest.ingest(directory / "logs", {**environ, **addresses}, messages=arguments.events // 3)
    finally:
        stack.down(directory)


def _bench(gateway: Gateway, customers: list[str], arguments: argparse.Namespace, lock: str) -> Bench:
    return Bench(
        gateway.api_url, gateway.pid(API), customers, arguments.seconds, arguments.runs, lock, arguments.connections
    )


def _full(environ: Mapping[str, str], customers: list[str], keys: list[str], arguments: argparse.Namespace) -> int:
    """Single sends with every option: required API keys, an Idempotency-Key each, rate limits."""
    customers, keys = customers[:CUSTOMERS], keys[:CUSTOMERS]
    environ = {**environ, "API_KEYS": "required"}
    failed = 0
    with Gateway(directory=DIRECTORY / "logs", environ=environ, workers=WORKERS) as gateway:
        gateway.start(API)
        gateway.wait_ready()
        send = partial(load.single_sends, gateway.api_url, customers=customers, keys=keys)
        send(connections=8, seconds=3)  # warm up
        bench = _bench(gateway, customers, arguments, LOCKS[0])
        for connections in bench.connections:
            run = partial(send, connections=connections, seconds=bench.seconds)
            about = {"bench": FULL, "features": "API_KEYS=required, Idempotency-Key, rate limit in memory"}
            failed += _repeat({**about, "connections": connections, "customers": CUSTOMERS}, run, bench)
        gateway.check()
    return failed


def _backlog(environ: Mapping[str, str], arguments: argparse.Namespace) -> dict[str, object]:
    """With Apache Kafka: the embedded broker holds no long backlog."""
    directory = DIRECTORY.with_name("bench-kafka")
    only_kafka = {name: environ[name] for name in ("DATABASE_URL", "CLICKHOUSE_URL")}
    addresses = stack.up(directory, kafka="apache", environ=only_kafka, bound_to_pid=os.getpid())
    try:
        return bench_backlog.backlog(
            directory / "logs", {**environ, **addresses}, messages=arguments.messages, seconds=arguments.seconds
        )
    finally:
        stack.down(directory)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="Length of a run (default 10).")
    parser.add_argument("--runs", type=int, default=3, help="Runs of each kind; the median is printed (default 3).")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*KINDS, FULL, FLOW, DELIVER, BACKLOG, INGEST, STATISTICS],
        default=[*KINDS, FULL, FLOW, DELIVER, BACKLOG],
        help="Kinds (default all but ingest and statistics, which take minutes and gigabytes).",
    )
    parser.add_argument(
        "--connections", nargs="+", type=int, default=CONNECTIONS, help="Of single sends (default 1 8 32 64)."
    )
    parser.add_argument("--messages", type=int, default=20_000, help="Messages of a deliver run (default 20,000).")
    parser.add_argument(
        "--events", type=int, default=10_000_000, help="Events of ingest and statistics (default 10,000,000)."
    )
    return parser.parse_args()


class Bench(NamedTuple):
    """The API to measure, and how."""

    url: str
    pid: int
    customers: list[str]
    seconds: float
    runs: int
    lock: str
    connections: list[int]


def _send(bench: Bench) -> int:
    """Single sends of 100 customers, for each number of connections. Returns the number of answers other than 200."""
    if not shutil.which("wrk"):
        sys.stderr.write("wrk is missing: single sends come from Python, which is the slower side then.\n")
    failed = 0
    for connections in bench.connections:
        run = partial(
            load.single_sends,
            bench.url,
            customers=bench.customers[:CUSTOMERS],
            connections=connections,
            seconds=bench.seconds,
        )
        failed += _repeat({"bench": "send", "connections": connections, "customers": CUSTOMERS}, run, bench)
    return failed


def _batch(bench: Bench) -> int:
    """Batches of two sizes over one and two connections."""
    failed = 0
    for size, connections, mixed in itertools.product(BATCHES, (1, 2), (False, True)):
        run = partial(
            load.batches,
            bench.url,
            customers=bench.customers[:CUSTOMERS],
            size=size,
            connections=connections,
            seconds=bench.seconds,
            mixed=mixed,
        )
        texts = "mixed" if mixed else "one segment of GSM-7"
        failed += _repeat({"bench": "batch", "connections": connections, "batch": size, "texts": texts}, run, bench)
    return failed


def _lock(bench: Bench) -> int:
    """The two ways to lock an account: with 1,000 customers, and with one hot customer."""
    failed = 0
    for count in (MANY, 1):
        run = partial(
            load.single_sends,
            bench.url,
            customers=bench.customers[:count],
            connections=8,
            seconds=bench.seconds,
        )
        failed += _repeat({"bench": "lock", "lock": bench.lock, "connections": 8, "customers": count}, run, bench)
    return failed


def _flood(bench: Bench) -> int:
    """A customer's p99 alone, and while another sends as fast as its rate limit allows: runs of both in turn."""
    quiet, flooding = bench.customers[:2]
    alone, beside = [], []
    for _ in range(bench.runs):
        alone.append(load.paced(bench.url, customer=quiet, rate=QUIET_RATE, connections=2, seconds=bench.seconds))
        with ThreadPoolExecutor(1) as other:
            flood = other.submit(
                load.paced, bench.url, customer=flooding, rate=FLOOD_RATE, connections=4, seconds=bench.seconds
            )
            beside.append(load.paced(bench.url, customer=quiet, rate=QUIET_RATE, connections=2, seconds=bench.seconds))
            beside_failed = flood.result().failed
    _tell(
        {
            "bench": "flood",
            "value": round(statistics.median(run.p99_ms for run in beside), 2),
            "unit": "ms, p99 beside the flood",
            "alone_p99_ms": round(statistics.median(run.p99_ms for run in alone), 2),
            "alone_p50_ms": round(statistics.median(run.p50_ms for run in alone), 2),
            "beside_p50_ms": round(statistics.median(run.p50_ms for run in beside), 2),
            "runs_alone_p99_ms": [round(run.p99_ms, 2) for run in alone],
            "runs_beside_p99_ms": [round(run.p99_ms, 2) for run in beside],
            "flood_per_second": FLOOD_RATE,
            "quiet_per_second": QUIET_RATE,
            "command": beside[0].command,
        }
    )
    return beside_failed + sum(run.failed for run in [*alone, *beside])


KINDS: dict[str, Callable[[Bench], int]] = {"send": _send, "batch": _batch, "lock": _lock, "flood": _flood}


def _repeat(about: dict[str, object], run: Callable[[], load.Run], bench: Bench) -> int:
    found = sorted((run() for _ in range(bench.runs)), key=lambda one: one.rate)
    median = found[len(found) // 2]
    failed = sum(one.failed for one in found)
    _tell(
        about
        | {
            "value": round(median.rate),
            "unit": "messages/s",
            "p50_ms": round(median.p50_ms, 2),
            "p99_ms": round(median.p99_ms, 2),
            "load_generator_cpu_share": round(median.cpu_share, 3),
            "runs": [round(one.rate) for one in found],
            "not_200": failed,
            "api_peak_rss_mb": _peak_rss(bench.pid),
            "api": f"gunicorn, {WORKERS} processes of 2 threads, LOG_LEVEL=warning",
            "cpus": os.cpu_count(),
            "command": median.command,
        }
    )
    return failed


def _peak_rss(pid: int) -> int:
    """The peak memory of any single process of the API, in MB."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return max(_high_water_kb(process.pid) for process in processes) // 1024


def _high_water_kb(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def _tell(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        sys.exit(f"bench: {error}")
