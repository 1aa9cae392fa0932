"""The drill of docs/howto/backup-and-recovery.md: PostgreSQL is lost, and restored to a point in time.

RECOVERY_BEFORE and RECOVERY_AFTER say how many messages are accepted before and after that point; RECOVERY_TOPUPS how
many top-ups in all. RECOVERY_REPORT names a file for the measured times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from apps.devservices.gateway import API, CALLBACKS, DELIVER, OPERATOR_SIMULATOR, RELAY, SETTLE, Gateway
from smsgateway import ids
from tests.support.archived_postgres import ArchivedPostgres
from tests.support.running_gateway import call, seen_by_operators
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.timeout(900)]

BEFORE = int(os.environ.get("RECOVERY_BEFORE", "200"))
AFTER = int(os.environ.get("RECOVERY_AFTER", "80"))
TOP_UPS = int(os.environ.get("RECOVERY_TOPUPS", "10"))
SCHEDULED = 20
OURS = (OPERATOR_SIMULATOR, API, RELAY, DELIVER, SETTLE, CALLBACKS)
ENTRIES = """
SELECT CASE kind WHEN 'refund' THEN '' ELSE id::text END, customer_id::text, kind, amount, message_id::text, reference
  FROM balance_ledgerentry
"""
MESSAGES = "SELECT id::text, customer_id::text, recipient, text, segments, cost FROM sms_message"
STATUSES = "SELECT message_id::text, status, refund FROM sms_statusentry"
BALANCES = "SELECT customer_id::text, balance FROM balance_account"
BOOK = """
import sys, django
django.setup()
from apps.balance.services import account_top_up_once, prepaid_customer_create
from smsgateway import ids
if sys.argv[1] == "create":
    print(ids.to_text(prepaid_customer_create(name=sys.argv[2], segments_per_second=5000, currency="IRR").id))
else:
    for number in range(int(sys.argv[3]), int(sys.argv[4])):
        account_top_up_once(customer_id=ids.from_text(sys.argv[2]), amount=1_000_000, reference=f"payment {number}")
"""


class Drill:
    """A gateway of its own on a PostgreSQL of its own."""

    def __init__(self, gateway: Gateway, environ: dict[str, str]) -> None:
        self.gateway = gateway
        self.environ = environ
        self.times: dict[str, float] = {}

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=self.environ, capture_output=True, text=True)

    def book(self, *arguments: object) -> str:
        done = self.python("-c", BOOK, *map(str, arguments))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def send(self, customer_id: str, count: int, *, what: str, **fields: Any) -> None:
        for start in range(0, count, 500):
            messages = [
                {"to": f"0912{number:07}", "text": f"{what} {number}", **fields}
                # Every tenth is not delivered, and refunded.
                for number in ((n // 10 * 10_000 + 2 if n % 10 == 0 else 1_000_500 + n)
                               for n in range(start, min(count, start + 500)))
            ]  # fmt: skip
            body = {"customer_id": customer_id, "messages": messages}
            code, answer = call("POST", f"{self.gateway.api_url}/v1/sms/batch", body)
            assert code == 200, answer

    def submitted(self) -> tuple[int, int]:
        """How many messages operators took, and how many of them twice."""
        seen = seen_by_operators(self.gateway).values()
        return sum(one["distinct_references_accepted"] for one in seen), sum(one["duplicates"] for one in seen)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the server's own account can enter."""
    with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def postgres(folder: Path) -> Iterator[ArchivedPostgres]:
    found = ArchivedPostgres(folder / "lost", folder / "archive")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def drill(postgres: ArchivedPostgres, tmp_path: Path) -> Iterator[Drill]:
    run = uuid.uuid4().hex[:10]
    names = ("accepted", "delivery", "status", "receipts", "routes", "held", "suspended", "money", "dead_letter")
    environ = os.environ | {
        "DJANGO_SETTINGS_MODULE": "smsgateway.settings",
        "DATABASE_URL": postgres.url,
        "KAFKA_BROKERS": ",".join(settings.CONFIG.kafka.brokers),
        "KAFKA_CONSUMER_GROUP_PREFIX": run,
        "KAFKA_CONSUMER_SESSION_TIMEOUT": "6000",
        **{f"KAFKA_TOPIC_{name.upper()}": f"{run}.{name}" for name in names},
        "CLICKHOUSE_URL": settings.CONFIG.clickhouse.url,
        "LOG_LEVEL": "info",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environ, check=True)
    with Gateway(directory=tmp_path, environ=environ, simulator_options=["--receipt-delay", "20", "200"]) as gateway:
        gateway.start(*OURS)
        gateway.wait_ready(*OURS, timeout=120)
        yield Drill(gateway, environ)


def books(postgres: ArchivedPostgres) -> dict[str, Any]:
    found = {name: sorted(map(repr, postgres.execute(query)))
             for name, query in (("entries", ENTRIES), ("messages", MESSAGES), ("statuses", STATUSES))}  # fmt: skip
    return found | {"balances": dict(postgres.execute(BALANCES))}


def is_quiet(postgres: ArchivedPostgres, *, final: int) -> bool:
    """So many messages have ended, and nothing waits to be published or settled."""
    [[ended]] = postgres.execute(
        "SELECT count(DISTINCT message_id) FROM sms_statusentry WHERE status IN ('delivered', 'undelivered')"
    )
    [[outbox]] = postgres.execute("SELECT count(*) FROM sms_outboxentry")
    [[money]] = postgres.execute("SELECT count(*) FROM balance_moneyoutboxentry")
    return (ended, outbox, money) == (final, 0, 0)


def test_postgresql_restored_to_a_point_in_time_sends_nothing_twice_and_loses_no_money(
    drill: Drill, postgres: ArchivedPostgres, folder: Path
) -> None:
    gateway = drill.gateway
    customer = drill.book("create", "Before")
    drill.book("topup", customer, 0, TOP_UPS // 2)
    assert "is whole" in postgres.back_up(METRICS_TEXTFILE_DIR=str(folder))
    assert 'job_last_run_succeeded{job="backup"} 1' in (folder / "smsgateway_backup.prom").read_text()
    wal = _wal_bytes(postgres)
    drill.send(customer, BEFORE, what="before")
    drill.send(customer, SCHEDULED, what="scheduled", send_at=_iso(time.time() + 86_400))
    wait_for(lambda: drill.submitted()[0] >= BEFORE // 2, "half of the messages")
    [[point]] = postgres.execute("SELECT clock_timestamp()::text")

    # An hour passes, in a few seconds. The scheduled messages become due in it.
    postgres.execute("UPDATE sms_scheduledentry SET send_at = now()")
    drill.book("topup", customer, TOP_UPS // 2, TOP_UPS)
    new = drill.book("create", "After")
    drill.book("topup", new, 0, 1)
    drill.send(customer, AFTER // 2, what="after")
    drill.send(new, AFTER - AFTER // 2, what="after, of a new customer")
    total = BEFORE + AFTER + SCHEDULED
    wait_for(lambda: is_quiet(postgres, final=total), "every message to be delivered or not")
    assert drill.submitted() == (total, 0)
    wal = _wal_bytes(postgres) - wal
    postgres.archive_everything()
    truth = books(postgres)

    # The machine is lost.
    for name in (API, RELAY, SETTLE, CALLBACKS):
        gateway.stop(name)
    postgres.stop()
    since = time.monotonic()
    restored = postgres.restored(folder / "restored", to=point)
    try:
        drill.times["restored"] = time.monotonic() - since
        assert restored.execute(f"SELECT count(*) FROM ({MESSAGES}) AS m")[0][0] < total
        drill.environ["DATABASE_URL"] = gateway._environ["DATABASE_URL"] = restored.url
        refused = drill.python("manage.py", "relay")
        assert refused.returncode == 1
        assert "Kafka knows more than it. Run manage.py recover" in refused.stderr.strip().splitlines()[-1]
        assert "Traceback" not in refused.stderr

        since_recovery = time.monotonic()
        done = drill.python("manage.py", "recover", "--json")
        drill.times["recovered"] = time.monotonic() - since_recovery
        assert done.returncode == 0, done.stdout + done.stderr
        found = books(restored)
        for what, rows in truth.items():
            assert found[what] == rows, what
        assert drill.python("manage.py", "recover", "--json").returncode == 0
        assert books(restored) == found, "a second run changes nothing"

        gateway.start(API, RELAY, SETTLE, CALLBACKS)
        gateway.wait_ready(API, RELAY, SETTLE, CALLBACKS, timeout=120)
        drill.times["serving"] = time.monotonic() - since
        drill.send(customer, 3, what="afterwards")
        wait_for(lambda: is_quiet(restored, final=total + 3), "messages after the recovery")
        assert drill.submitted() == (total + 3, 0), "nothing was submitted twice"
        _ledger_agrees(restored)
        _report(drill, total=total, wal=wal)
    finally:
        gateway.stop_all()
        restored.stop()


def _wal_bytes(postgres: ArchivedPostgres) -> int:
    return int(postgres.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")[0][0])


def _ledger_agrees(postgres: ArchivedPostgres) -> None:
    sums = dict(postgres.execute("SELECT customer_id::text, sum(amount)::bigint FROM balance_ledgerentry GROUP BY 1"))
    assert sums == dict(postgres.execute(BALANCES))


def _iso(seconds: float) -> str:
    return ids.moment_of(int(seconds * 1000)).isoformat()


def _report(drill: Drill, *, total: int, wal: int) -> None:
    if path := os.environ.get("RECOVERY_REPORT"):
        found = {
            "messages": total,
            "wal_bytes_a_message": wal // total,
            **{k: round(v, 1) for k, v in drill.times.items()},
        }
        Path(path).write_text(json.dumps(found))
