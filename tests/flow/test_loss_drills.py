"""The drills of docs/howto/backup-and-recovery.md for Kafka, its offsets and ClickHouse: each is lost, and recovered.

RECOVERY_MESSAGES says how many messages each drill sends before the loss.
"""

from __future__ import annotations

import os
import subprocess
import sys
from uuid import UUID

import pytest

from apps.balance.selectors import accounts_off
from apps.devservices.gateway import DELIVER, INGEST, RELAY, SETTLE, Gateway
from apps.sms.models import OutboxEntry, StatusEntry
from smsgateway import clickhouse, ids
from tests.support.customers import MakeCustomer
from tests.support.running_gateway import call, metric_value, seen_by_operators, totals
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

BEFORE = int(os.environ.get("RECOVERY_MESSAGES", "120"))
AFTER = 30


def manage(gateway: Gateway, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command], cwd=ROOT, env=gateway._environ, capture_output=True, text=True
    )


def send(gateway: Gateway, customer_id: UUID, count: int) -> None:
    for start in range(0, count, 500):
        numbers = range(start, min(count, start + 500))
        messages = [{"to": f"0912{1_000_500 + number:07}", "text": f"message {number}"} for number in numbers]
        body = {"customer_id": ids.to_text(customer_id), "messages": messages}
        code, answer = call("POST", f"{gateway.api_url}/v1/sms/batch", body)
        assert code == 200, answer


def submits(gateway: Gateway) -> tuple[int, int]:
    """How many messages operators took, and how many of them twice."""
    seen = seen_by_operators(gateway).values()
    return sum(one["distinct_references_accepted"] for one in seen), sum(one["duplicates"] for one in seen)


def is_delivered(count: int) -> bool:
    return StatusEntry.objects.filter(status="delivered").count() == count and not OutboxEntry.objects.exists()


@pytest.mark.parametrize("how", ["status topic", "command"])
def test_lost_offsets_send_nothing_again(gateway: Gateway, make_customer: MakeCustomer, how: str) -> None:
    customer_id = make_customer(balance=10**9, pace=2000)
    send(gateway, customer_id, BEFORE)
    wait_for(lambda: is_delivered(BEFORE), "the first messages")
    for name in (DELIVER, SETTLE):
        gateway.stop(name)
    # These wait on Kafka, behind those that were sent.
    send(gateway, customer_id, AFTER)
    wait_for(lambda: not OutboxEntry.objects.exists(), "the relay")
    # The group's offsets are gone: for Kafka it is a new one.
    gateway._environ["KAFKA_CONSUMER_GROUP_PREFIX"] += ".lost"
    if how == "command":
        gateway._environ["KAFKA_LOST_OFFSETS"] = "stop"
        refused = manage(gateway, "deliver")
        assert refused.returncode == 1
        assert "The offsets of the delivery workers are lost" in refused.stderr.strip().splitlines()[-1]
        busy = manage(gateway, "recover", "--offsets")
        assert busy.returncode == os.EX_TEMPFAIL, "settlement has to read every status first"
        gateway.start(SETTLE)
        gateway.stop(RELAY)
        wait_for(lambda: manage(gateway, "recover", "--offsets").returncode == 0, "settlement to have read everything")
        assert OutboxEntry.objects.filter(payload=None).count() == AFTER, "only what nobody has sent"
        gateway.start(RELAY, DELIVER)
    else:
        gateway.start(DELIVER, SETTLE)
    wait_for(lambda: is_delivered(BEFORE + AFTER), "the messages behind")
    assert submits(gateway) == (BEFORE + AFTER, 0)
    if how == "status topic":
        assert metric_value(gateway, DELIVER, "delivery_already_submitted_total") == BEFORE
    assert accounts_off() == []


def test_lost_clickhouse_is_rebuilt(gateway: Gateway, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=10**9, pace=2000)
    customer = ids.to_text(customer_id)
    send(gateway, customer_id, BEFORE)
    wait_for(lambda: is_delivered(BEFORE), "the first messages")
    wait_for(lambda: totals(gateway, customer, "daily")["delivered"] == BEFORE, "statistics")
    truth = {interval: totals(gateway, customer, interval) for interval in ("minute", "daily")}

    gateway.stop(INGEST)
    database = gateway._environ["CLICKHOUSE_URL"].rpartition("/")[2]
    clickhouse.default().execute(f"DROP DATABASE {database}")
    clickhouse.default().execute(f"CREATE DATABASE {database}")
    assert manage(gateway, "clickhouse_migrate").returncode == 0
    done = manage(gateway, "recover", "--statistics")
    assert done.returncode == 0, done.stderr
    gateway.start(INGEST)
    for interval, expected in truth.items():
        wait_for(lambda: totals(gateway, customer, interval) == expected, "the statistics")  # noqa: B023
    assert manage(gateway, "reconcile").returncode == 0


def test_lost_kafka_loses_no_message(gateway: Gateway, make_customer: MakeCustomer) -> None:
    """All topics are gone, and with them messages that no worker had read. Settlement had read every status."""
    customer_id = make_customer(balance=10**9, pace=2000)
    send(gateway, customer_id, BEFORE)
    wait_for(lambda: is_delivered(BEFORE), "the first messages")
    gateway.stop(DELIVER)
    send(gateway, customer_id, AFTER)
    wait_for(lambda: not OutboxEntry.objects.exists(), "the relay to have published what is lost then")
    for name in (RELAY, SETTLE, INGEST):
        gateway.stop(name)
    # The topics are gone: those of another name are empty.
    for name, value in list(gateway._environ.items()):
        if name.startswith("KAFKA_TOPIC_") or name == "KAFKA_CONSUMER_GROUP_PREFIX":
            gateway._environ[name] = f"{value}.new"
    gateway._environ["RECONCILE_STUCK_AFTER"] = "0"
    gateway.start(RELAY, DELIVER, SETTLE, INGEST)
    gateway.wait_ready(timeout=120)
    found = manage(gateway, "reconcile", "--repair", "--even-if-waiting")
    assert found.returncode == 3, found.stderr
    assert f"repaired: {AFTER}" in found.stdout
    wait_for(lambda: is_delivered(BEFORE + AFTER), "the messages that were put back")
    assert submits(gateway) == (BEFORE + AFTER, 0)
    assert accounts_off() == []
    # What the statistics had not read is published again.
    gateway._environ["RECONCILE_IN_FLIGHT"] = "0"
    wait_for(lambda: manage(gateway, "reconcile", "--repair").returncode == 0, "the statistics to agree")
    # It also ends with 0 while what it published again is on its way.
    customer = ids.to_text(customer_id)
    wait_for(lambda: totals(gateway, customer, "daily")["delivered"] == BEFORE + AFTER, "the statistics")
