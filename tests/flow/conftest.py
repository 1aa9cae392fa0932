"""The whole gateway for the flow tests: databases and topics of their own, and every process as its own."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django.conf import settings
from django.db import connection

from apps.devservices.gateway import Gateway
from smsgateway import clickhouse

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 120


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Poll until the condition holds and return its value."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {WAIT_SECONDS} s in vain for {what}")
        time.sleep(0.05)
    return value


def call(method: str, url: str, body: Any = None) -> tuple[int, Any]:
    """One HTTP request with a JSON body: the status and the JSON answer."""
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        payload = None if body is None else json.dumps(body)
        client.request(method, path, payload, {"Content-Type": "application/json"})
        response = client.getresponse()
        return response.status, json.loads(response.read())
    finally:
        client.close()


def database_url() -> str:
    """The address of the database that this test runs on."""
    found = {name: quote(str(connection.settings_dict[name]), safe="") for name in ("USER", "PASSWORD", "HOST", "NAME")}
    port = f":{connection.settings_dict['PORT']}" if connection.settings_dict["PORT"] else ""
    return f"postgres://{found['USER']}:{found['PASSWORD']}@{found['HOST']}{port}/{found['NAME']}"


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
            for name in ("accepted", "delivery", "status", "held", "suspended", "dead_letter")
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
