"""The whole gateway for the flow tests: databases and topics of their own, and every process as its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings

from apps.devservices.gateway import Gateway
from smsgateway import clickhouse
from tests.support.database import database_url
from tests.support.tools import ROOT
from tests.support.waiting import WAIT_SECONDS

# The last version that was released, or the last commit before this version's work began. Each release changes it.
EARLIER: Final = "f38a4887486b"


@pytest.fixture
def earlier_code(tmp_path: Path) -> Path:
    """The earlier version's files, in a folder of their own."""
    done = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip(f"this checkout has no commit {EARLIER}: a shallow clone, or no clone at all")
    folder = tmp_path / "earlier"
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def gateway(transactional_db: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Every process of the gateway, on this test's database, with topics and a ClickHouse database of the test's own.

    `@pytest.mark.parametrize("gateway", [[simulator options]], indirect=True)` makes operators misbehave.
    """
    run = uuid.uuid4().hex[:10]
    address = settings.CONFIG.clickhouse.url.rpartition("/")[0]
    clickhouse.default().execute(f"CREATE DATABASE flow_{run}")
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "CLICKHOUSE_URL": f"{address}/flow_{run}",
        "KAFKA_BROKERS": ",".join(settings.CONFIG.kafka.brokers),
        "KAFKA_CONSUMER_GROUP_PREFIX": run,
        "KAFKA_CONSUMER_SESSION_TIMEOUT": "6000",
        **{
            f"KAFKA_TOPIC_{name.upper()}": f"{run}.{name}"
            for name in ("accepted", "delivery", "status", "held", "suspended", "money", "dead_letter")
        },
        "LOG_LEVEL": os.environ.get("FLOW_LOG_LEVEL", "info"),
        "WORKER_RETRY_BASE": "0.05",
        "CALLBACK_ALLOW_PRIVATE": "true",  # the endpoints of these tests are on this machine
    }
    subprocess.run([sys.executable, "manage.py", "clickhouse_migrate"], cwd=ROOT, env=environment, check=True)
    options = getattr(request, "param", ["--receipt-delay", "20", "200"])
    with Gateway(directory=tmp_path, environ=environment, simulator_options=options) as running:
        running.start_all()
        running.wait_ready(timeout=WAIT_SECONDS)
        yield running
    clickhouse.default().execute(f"DROP DATABASE flow_{run}")
