"""What the alerts about backups, dead letters and traffic measure, with the fault caused for real."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.customers.services import customer_status_set
from apps.sms.recovery.dead_letters import letters_list, letters_replay
from apps.sms.watch import measure_dead_letters
from smsgateway import ids
from smsgateway.kafka import client as kafka
from smsgateway.metrics import SMS_ACCEPTED, WATCH_DEAD_LETTERS
from tests.support.archived_postgres import ArchivedPostgres
from tests.support.customers import MakeCustomer
from tests.support.own_topics import own_topics
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

MEASURE = """
import django
django.setup()
from apps.sms.watch import measure_durability
from prometheus_client import generate_latest
measure_durability(promised=1)
print(generate_latest().decode())
"""


@pytest.fixture
def postgres() -> Iterator[ArchivedPostgres]:
    with tempfile.TemporaryDirectory(prefix="archiving-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        found = ArchivedPostgres(Path(name) / "server", Path(name) / "archive")
        found.start()
        yield found
        found.stop()


def measured(postgres: ArchivedPostgres) -> dict[str, float]:
    """The gauges of the watch process, on this server."""
    environ = os.environ | {"DATABASE_URL": postgres.url, "DJANGO_SETTINGS_MODULE": "smsgateway.settings"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=ROOT, env=environ, check=True, capture_output=True, text=True
    )
    lines = (line.split() for line in done.stdout.splitlines() if line.startswith("watch_") and "{" not in line)
    return {name: float(value) for name, value in lines}


@pytest.mark.breaks("ReplicationOff", "WalArchiveBehind")
def test_a_missing_standby_and_a_failing_archive_are_measured(postgres: ArchivedPostgres) -> None:
    postgres.archive_everything()
    well = measured(postgres)
    assert well["watch_synchronous_standbys_missing"] == 1, "one is promised, and there is none"
    assert well["watch_wal_archive_failing"] == 0
    assert well["watch_wal_archive_age_seconds"] < 900

    postgres.execute("ALTER SYSTEM SET archive_command = 'false'")
    postgres.execute("SELECT pg_reload_conf()")
    postgres.execute("SELECT pg_switch_wal()")
    failed = "SELECT failed_count > 0 FROM pg_stat_archiver"
    wait_for(lambda: postgres.execute(failed) == [(True,)], "PostgreSQL to fail")
    assert measured(postgres)["watch_wal_archive_failing"] == 1


@pytest.mark.breaks("DeadLettersWaiting")
def test_a_dead_letter_waits_until_it_is_replayed() -> None:
    config = own_topics().kafka
    producer = kafka.producer(config, client_id="test")
    headers: Any = [("reason", b"unknown message"), ("source_topic", config.topic_status.encode())]
    kafka.publish_and_wait(producer, [kafka.Record(config.topic_dead_letter, b"key", b"{}", headers)])
    measure_dead_letters(config)
    assert WATCH_DEAD_LETTERS._value.get() == 1
    letters_replay(letters_list(config), producer=producer, config=config)
    measure_dead_letters(config)
    assert WATCH_DEAD_LETTERS._value.get() == 0


@pytest.mark.breaks("TrafficDrop")
@pytest.mark.django_db
def test_traffic_that_is_refused_does_not_count_as_accepted(
    make_customer: MakeCustomer, post: Callable[..., Any]
) -> None:
    customer_id = make_customer()
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "x"}

    def accepted() -> float:
        return sum(sample.value for metric in SMS_ACCEPTED.collect() for sample in metric.samples
                   if sample.name == "sms_accepted_total")  # fmt: skip

    before = accepted()
    assert post("/v1/sms/send", body).status_code == 200
    assert accepted() == before + 1
    customer_status_set(customer_id=customer_id, status="suspended")
    assert post("/v1/sms/send", body).status_code == 403
    assert accepted() == before + 1
