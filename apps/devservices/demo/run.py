"""The demo from start to end: starts everything, sends, waits, compares, stops everything."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
from django.conf import settings
from rich.console import Console
from rich.markup import escape

from apps.devservices import stack
from apps.devservices.demo import comparison, ledger, report, rows, sender
from apps.devservices.gateway import Gateway
from apps.devservices.processes import PROJECT_ROOT, ServiceError
from smsgateway import config, ids

DIRECTORY: Final = PROJECT_ROOT / ".devservices" / "demo"
STALL_SECONDS: Final = 60.0
"""Without progress for this long, the demo stops waiting."""

# Like real operators: slow, busy, sometimes failing; some messages are rejected or not delivered.
SIMULATOR_OPTIONS: Final = (
    *("--answer-delay", "5", "40"),
    *("--transient-rate", "0.05"),
    *("--rejection-rate", "0.02"),
    *("--undelivered-rate", "0.04"),
    *("--receipt-delay", "50", "1500"),
    *("--duplicate-receipt-rate", "0.05"),
    *("--max-per-second", "60"),
)
# A message that no operator accepts fails within seconds here, not within minutes.
WORKER: Final = {"WORKER_RETRY_BASE": "0.2", "WORKER_MAX_RETRIES": "5"}

_POLL_SECONDS: Final = 0.5


class Outcome(NamedTuple):
    """The verdict, and how long the demo took."""

    verdict: comparison.Verdict
    seconds: float


def run(messages: Path, on: Console) -> Outcome:
    """Send the file's messages through a gateway of our own, and judge the results.

    Stops everything that it started. Raises rows.UnusableFile, ServiceError or sender.UnexpectedAnswer.
    """
    started = time.monotonic()
    to_send = rows.read(messages)
    with _services(on) as addresses:
        environ = _environ(addresses)
        for command in ("migrate", "clickhouse_migrate", "create_kafka_topics"):
            manage(command, environ=environ)
        plans = [f"{plan.name}:{plan.pace}:{plan.balance}" for plan in rows.CUSTOMERS]
        customer_ids: dict[str, str] = json.loads(manage("seed", *plans, environ=environ))
        on.print("Migrated; three customers have their balances.")
        logs = DIRECTORY / "logs"
        with (
            Gateway(directory=logs, environ=environ, simulator_options=SIMULATOR_OPTIONS) as gateway,
            psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as database,
        ):
            gateway.start_all()
            gateway.wait_ready()
            on.print(f"Every process runs; logs are in {escape(str(logs))}.")
            verdict = _send_and_judge(to_send, customer_ids, gateway=gateway, database=database, on=on)
    return Outcome(verdict, round(time.monotonic() - started, 1))


def manage(*arguments: str, environ: Mapping[str, str]) -> str:
    """The output of a management command. Raises ServiceError with its last line if it fails."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"]
        # A traceback ends with the error. PostgreSQL adds lines with the place in the statement.
        named = [line for line in lines if "Error" in line]
        raise ServiceError(f"manage.py {arguments[0]} failed: {(named or lines)[-1]}")
    return done.stdout


@contextmanager
def _services(on: Console) -> Iterator[dict[str, str]]:
    """Run PostgreSQL, Kafka and ClickHouse for the demo alone; yield their addresses."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with (DIRECTORY / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(f"Another demo runs in {DIRECTORY}. Wait until it has ended.") from None
        on.print("Starting PostgreSQL, Kafka and ClickHouse.")
        try:
            yield stack.up(DIRECTORY, environ={}, bound_to_pid=os.getpid())
        finally:
            stack.down(DIRECTORY)


def _environ(addresses: Mapping[str, str]) -> dict[str, str]:
    """The processes' environment: the demo's addresses and retries, and defaults for all else. `.env` is ignored."""
    unset = dict.fromkeys((name for _, _, name, _, _ in config.declarations()), "")
    return {**os.environ, **unset, **addresses, **WORKER, "DEVSERVICES_DIR": str(DIRECTORY)}


def _send_and_judge(
    to_send: list[rows.Row],
    customer_ids: Mapping[str, str],
    *,
    gateway: Gateway,
    database: ledger.Connection,
    on: Console,
) -> comparison.Verdict:
    with report.progress(on) as bars:
        sending_bar = bars.add_task("sending", total=len(to_send))
        sent = sender.send_all(
            rows.requests(to_send),
            api_url=gateway.api_url,
            customer_ids=customer_ids,
            on_answer=lambda count: bars.advance(sending_bar, count),
        )
        accepted = sum(len(answers.message_ids) for answers in sent.answers.values())
        settling_bar = bars.add_task("settling", total=accepted)
        uuids = comparison.uuids(customer_ids)

        def left_to_settle() -> int:
            left = ledger.unsettled(database, uuids)
            bars.update(settling_bar, completed=accepted - left)
            return left

        _wait_until_zero(left_to_settle, gateway, on, what="messages without a final status")

    def customers() -> dict[str, comparison.Customer]:
        return {
            name: comparison.Customer(name, text, sent.answers[name], ledger.read(database, ids.from_text(text)))
            for name, text in customer_ids.items()
        }

    def differences() -> list[str]:
        return comparison.reporting_differences(reporting_url=gateway.reporting_url, books=customers())

    _wait_until_zero(
        lambda: len(differences()), gateway, on, what="totals that differ between ClickHouse and PostgreSQL"
    )
    verdict = comparison.judge(
        sent=len(to_send),
        customers=list(customers().values()),
        simulator_url=gateway.simulator_url,
        reporting_faults=differences(),
    )
    on.print(report.table(verdict.customers, currency=settings.CONFIG.sms.currency))
    for line in report.pictures(verdict, sent.accepted_at):
        on.print(line, markup=False)
    return verdict


def _wait_until_zero(count: Callable[[], int], gateway: Gateway, on: Console, *, what: str) -> None:
    """Wait until the count is 0. If it has not changed for STALL_SECONDS, print that and return."""
    newest, since = -1, time.monotonic()
    while left := count():
        gateway.check()
        if left != newest:
            newest, since = left, time.monotonic()
        elif time.monotonic() - since > STALL_SECONDS:
            on.print(f"No progress for {STALL_SECONDS:.0f} s: {left} {what}.")
            return
        time.sleep(_POLL_SECONDS)
