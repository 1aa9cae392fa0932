"""The API and the reporting API as processes of their own, for foreign clients."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
from django.conf import settings

from apps.customers.keys import key_create
from apps.devservices.gateway import API, REPORTING, Gateway
from conftest import MakeCustomer
from smsgateway import clickhouse, ids
from tests.clients.installed import ROOT
from tests.flow.conftest import WAIT_SECONDS, database_url


class Served(NamedTuple):
    """A running gateway, and a customer of it with its API key."""

    api_url: str
    reporting_url: str
    customer_id: UUID
    key: str

    def environment(self, url: str) -> dict[str, str]:
        """What docs/clients.md asks for."""
        return {"SMS_URL": url, "SMS_KEY": self.key, "SMS_CUSTOMER": ids.to_text(self.customer_id)}


@pytest.fixture
def served(
    transactional_db: None, make_customer: MakeCustomer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Served]:
    """Both HTTP services. No other process runs: messages stay accepted. They ask for keys.

    `@pytest.mark.parametrize("served", ["optional"], indirect=True)` sets `API_KEYS` otherwise.
    """
    database = f"clients_{uuid.uuid4().hex[:10]}"
    clickhouse.default().execute(f"CREATE DATABASE {database}")
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "CLICKHOUSE_URL": f"{settings.CONFIG.clickhouse.url.rpartition('/')[0]}/{database}",
        "KAFKA_BROKERS": ",".join(settings.CONFIG.kafka.brokers),
        "LOG_LEVEL": "warning",
        "API_KEYS": getattr(request, "param", "required"),
        "OPERATOR_MCI_RECEIPT_TOKEN": "token-of-the-test",
    }
    subprocess.run([sys.executable, "manage.py", "clickhouse_migrate"], cwd=ROOT, env=environment, check=True)
    customer_id = make_customer(balance=100_000)
    _, key = key_create(customer_id=customer_id)
    with Gateway(directory=tmp_path / "gateway", environ=environment, workers=1) as running:
        running.start(API, REPORTING)
        running.wait_ready(timeout=WAIT_SECONDS)
        yield Served(running.api_url, running.reporting_url, customer_id, key)
    clickhouse.default().execute(f"DROP DATABASE {database}")
