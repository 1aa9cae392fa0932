"""A worker that is dead, as Prometheus sees it: the process is gone, and its messages have no status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from apps.devservices.gateway import API, CALLBACKS, DELIVER, INGEST, RELAY, REPORTING, SETTLE, WATCH, Gateway
from apps.sms.models import OutboxEntry, StatusEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.prometheus import Prometheus, node_exporter
from tests.support.running_gateway import call
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
SCRAPED = (API, REPORTING, RELAY, DELIVER, SETTLE, INGEST, CALLBACKS, WATCH)


@pytest.mark.breaks("ProcessDown", "MessagesStuck", "LedgerMismatch")
def test_a_dead_worker_and_the_messages_that_wait_for_it(
    gateway: Gateway, make_customer: MakeCustomer, tmp_path: Path
) -> None:
    customer = make_customer(pace=1000)
    gateway.start(WATCH)
    gateway.wait_ready(WATCH)
    (files := tmp_path / "textfile").mkdir()

    def reconcile() -> dict[str, Any]:
        environ = gateway._environ | {"METRICS_TEXTFILE_DIR": str(files), "RECONCILE_STUCK_AFTER": "0"}
        command = [sys.executable, "manage.py", "reconcile", "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
        assert done.returncode in (0, 3), done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    targets = {name: getattr(gateway.ports, name) for name in SCRAPED}
    with (
        node_exporter(tmp_path / "node", files) as (port, _),
        Prometheus(tmp_path / "prometheus", targets | {"node": port}) as prometheus,
    ):
        for job in targets:
            wait_for(lambda: prometheus.knows(f'up{{job="{job}"}} == 1'), f"{job} to be seen")  # noqa: B023
        wait_for(lambda: not prometheus.alerts("ProcessDown"), "every process to be there")
        assert reconcile()["stuck"] == []
        wait_for(lambda: prometheus.knows("reconcile_stuck_messages == 0"), "the job's metrics")
        assert not prometheus.alerts("MessagesStuck")

        gateway.stop(DELIVER)
        wait_for(lambda: prometheus.told("ProcessDown", job=DELIVER), "the alert of the process")
        body = {"customer_id": ids.to_text(customer), "to": "09121234501", "text": "Hello"}
        assert call("POST", f"{gateway.api_url}/v1/sms/send", body)[0] == 200
        wait_for(lambda: not OutboxEntry.objects.exists(), "the relay to hand the message on")
        assert len(reconcile()["stuck"]) == 1
        wait_for(lambda: prometheus.alerts("MessagesStuck"), "the alert of the message")

        gateway.start(DELIVER)
        gateway.wait_ready(DELIVER)
        wait_for(StatusEntry.objects.exists, "a status")
        assert reconcile()["stuck"] == []
        for alert in ("ProcessDown", "MessagesStuck"):
            wait_for(lambda: not prometheus.alerts(alert), f"no {alert}")  # noqa: B023

        # What the watch process finds by itself, test_alerts.py has; a whole ledger only this job sums.
        with connection.cursor() as cursor:
            cursor.execute("UPDATE balance_account SET balance = balance + 1")
            assert len(reconcile()["accounts"]) == 1
            wait_for(lambda: prometheus.knows("reconcile_accounts_off == 1"), "the job's finding")
            wait_for(lambda: prometheus.alerts("LedgerMismatch"), "the alert of the ledger")
            cursor.execute("UPDATE balance_account SET balance = balance - 1")
        assert reconcile()["accounts"] == []
        wait_for(lambda: not prometheus.alerts("LedgerMismatch"), "no alert of the ledger")
