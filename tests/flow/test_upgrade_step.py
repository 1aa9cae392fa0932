"""The migration step of an upgrade takes nothing down, whatever the maintenance of partitions is doing or cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from apps.devservices.gateway import API, DELIVER, OPERATOR_SIMULATOR, RELAY, SETTLE, Gateway
from smsgateway import clickhouse
from smsgateway.partitions.lock import LOCK
from tests.support.database import database_url
from tests.support.running_gateway import call, seen_by_operators
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

REPLACED = (API, RELAY, DELIVER, SETTLE)
# Run by the earlier version: a customer, and a day of long ago whose retention is over.
BEGIN = """
import datetime as dt, django
django.setup()
from apps.balance.services import account_top_up, prepaid_customer_create
from django.db import connection
from smsgateway import ids, partitions
customer = prepaid_customer_create(name="Shop", segments_per_second=500, currency="IRR")
account_top_up(customer_id=customer.id, amount=10**9, reference="first")
old = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=200)
partitions.create(first=old.date(), days=1)
with connection.cursor() as cursor:
    cursor.execute(
        "INSERT INTO sms_message (id, customer_id, recipient, sender, text, encoding, segments, cost, operator,"
        " reference, expires_at, priority, callback_url)"
        " VALUES (%s, %s, '+989121234567', '', '', 'gsm7', 1, 0, 'mci', '', %s, 'normal', '')",
        [ids.lowest_id(old), customer.id, old],
    )
    status = "INSERT INTO sms_statusentry VALUES (%s, 'delivered', %s, 'mci', '', '', 1)"
    cursor.execute(status, [ids.lowest_id(old), old])
print(ids.to_text(customer.id))
"""


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A database without any table, topics of its own, and an archive that cannot be written."""
    run = uuid.uuid4().hex[:10]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE upgrade_{run}")
    clickhouse.default().execute(f"CREATE DATABASE upgrade_{run}")
    (tmp_path / "a file").touch()
    names = ("accepted", "delivery", "status", "held", "suspended", "money", "dead_letter", "receipts", "routes")
    yield os.environ | {
        "DJANGO_SETTINGS_MODULE": "smsgateway.settings",
        "DATABASE_URL": f"{database_url().rpartition('/')[0]}/upgrade_{run}",
        "CLICKHOUSE_URL": f"{settings.CONFIG.clickhouse.url.rpartition('/')[0]}/upgrade_{run}",
        "KAFKA_BROKERS": ",".join(settings.CONFIG.kafka.brokers),
        "KAFKA_CONSUMER_GROUP_PREFIX": run,
        "KAFKA_CONSUMER_SESSION_TIMEOUT": "6000",
        **{f"KAFKA_TOPIC_{name.upper()}": f"{run}.{name}" for name in names},
        "PARTITION_ARCHIVE": str(tmp_path / "a file" / "archive"),
        "LOG_LEVEL": "info",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE upgrade_{run} WITH (FORCE)")
    clickhouse.default().execute(f"DROP DATABASE upgrade_{run}")


class Sender(threading.Thread):
    """Sends to one API, then to another; what was not answered 200 stands in `failures`."""

    def __init__(self, url: str, customer: str) -> None:
        super().__init__()
        self.url = url
        self.count = 0
        self.failures: list[Any] = []
        self._customer = customer
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.wait(0.05):
            body = {"customer_id": self._customer, "to": f"0912{1_000_500 + self.count:07}", "text": "x"}
            try:
                code, answer = call("POST", f"{self.url}/v1/sms/send", body)
            except OSError as error:
                self.failures.append(error)
                continue
            if code != 200:
                self.failures.append(answer)
            self.count += 1

    def end(self) -> None:
        self._ends.set()
        self.join()

    def wait_more(self) -> None:
        """Return when twenty more were answered."""
        before = self.count
        wait_for(lambda: self.count > before + 20 or self.failures, "sends to be answered")


def test_an_upgrade_serves_while_partitions_are_overdue_and_cannot_be_archived(
    earlier_code: Path,
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    def earlier(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=earlier_code, env=environ, check=True, capture_output=True, text=True).stdout

    earlier("manage.py", "migrate", "-v0")
    customer = earlier("-c", BEGIN).split()[-1]
    with (
        Gateway(directory=tmp_path / "new", environ=environ) as new,
        Gateway(directory=tmp_path / "old", environ=environ) as old,
    ):
        for name in ("OPERATOR_MCI_URL", "OPERATOR_IRANCELL_URL"):
            old._environ[name] = new.simulator_url
        new.start(OPERATOR_SIMULATOR)
        old.start(*REPLACED, root=earlier_code)
        new.wait_ready(OPERATOR_SIMULATOR, timeout=120)
        old.wait_ready(*REPLACED, timeout=120)
        sender = Sender(old.api_url, customer)
        sender.start()
        try:
            sender.wait_more()
            _prepare_beside_a_running_apply(environ, sender, tmp_path / "prepare.log")
            new.start(API)
            new.wait_ready(API, timeout=120)
            sender.url = new.api_url
            sender.wait_more()
            for name in REPLACED:
                assert old.stop(name) == 0, name
                if name != API:
                    new.start(name)
                    new.wait_ready(name, timeout=120)
                sender.wait_more()
        finally:
            sender.end()
        assert sender.failures == []
        with psycopg.connect(environ["DATABASE_URL"], autocommit=True) as database:
            wait_for(
                lambda: (
                    (database.execute("SELECT count(DISTINCT message_id) FROM sms_statusentry").fetchone() or [0])[0]
                    == sender.count + 1
                ),
                "every message to be submitted",
            )
        assert sum(one["duplicates"] for one in seen_by_operators(new).values()) == 0


def _prepare_beside_a_running_apply(environ: dict[str, str], sender: Sender, log: Path) -> None:
    """`docker/entrypoint prepare` succeeds. At first another maintenance is at work, and the schema waits for it."""
    with psycopg.connect(environ["DATABASE_URL"], autocommit=True) as apply, log.open("wb") as output:
        apply.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        prepare = subprocess.Popen(
            [ROOT / "docker" / "entrypoint", "prepare"], env=environ, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_for(
                lambda: "partition_index_waits" in log.read_text() or prepare.poll() is not None,
                "the migration to wait for the other run",
            )
            assert prepare.poll() is None, log.read_text()
            sender.wait_more()
            apply.execute("SELECT pg_advisory_unlock_all()")
            while prepare.poll() is None and not sender.failures:
                sender.wait_more()
        finally:
            prepare.kill() if prepare.poll() is None else None
            prepare.wait()
    assert prepare.returncode == 0, log.read_text()[-2000:]
    text = log.read_text()
    assert "Archiving stopped" not in text
    assert "partitions created." in text
