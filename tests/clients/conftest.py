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
    """A running API, and a customer of it with its API key."""

    gateway: Gateway
    environ: dict[str, str]
    customer_id: UUID
    key: str

    @property
    def url(self) -> str:
        return self.gateway.api_url

    def environment(self, url: str) -> dict[str, str]:
        """What docs/howto/generate-a-client.md asks for."""
        return {"SMS_URL": url, "SMS_KEY": self.key, "SMS_CUSTOMER": ids.to_text(self.customer_id)}


@pytest.fixture
def served(
    transactional_db: None, make_customer: MakeCustomer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Served]:
    """The API, which asks for keys. No other process runs: messages stay accepted.

    `@pytest.mark.parametrize("served", ["optional"], indirect=True)` sets `API_KEYS` otherwise.
    """
    environ = os.environ | {
        "DATABASE_URL": database_url(),
        "CLICKHOUSE_URL": f"{settings.CONFIG.clickhouse.url.rpartition('/')[0]}/clients_{uuid.uuid4().hex[:10]}",
        "KAFKA_BROKERS": ",".join(settings.CONFIG.kafka.brokers),
        "LOG_LEVEL": "warning",
        "API_KEYS": getattr(request, "param", "required"),
        "OPERATOR_MCI_RECEIPT_TOKEN": "token-of-the-test",
    }
    customer_id = make_customer(balance=100_000)
    _, key = key_create(customer_id=customer_id)
    with Gateway(directory=tmp_path / "gateway", environ=environ, workers=1) as gateway:
        gateway.start(API)
        gateway.wait_ready(timeout=WAIT_SECONDS)
        yield Served(gateway, environ, customer_id, key)


@pytest.fixture
def reporting_url(served: Served) -> Iterator[str]:
    """The reporting API beside it, without any statistics."""
    database = served.environ["CLICKHOUSE_URL"].rpartition("/")[2]
    clickhouse.default().execute(f"CREATE DATABASE {database}")
    subprocess.run([sys.executable, "manage.py", "clickhouse_migrate"], cwd=ROOT, env=served.environ, check=True)
    served.gateway.start(REPORTING)
    served.gateway.wait_ready(REPORTING, timeout=WAIT_SECONDS)
    yield served.gateway.reporting_url
    served.gateway.stop(REPORTING)
    clickhouse.default().execute(f"DROP DATABASE {database}")
