"""Fixtures of ClickHouse; a conftest imports those that its tests use."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator

import pytest
from django.conf import settings

from apps.reporting import schema
from smsgateway import clickhouse


@pytest.fixture(scope="session")
def database() -> Iterator[clickhouse.ClickHouse]:
    """The ClickHouse of the run, with its schema. Tests keep apart by customers of their own."""
    client = clickhouse.default()
    list(schema.migrate(database=client))
    yield client
    client.close()


@pytest.fixture
def away() -> Iterator[clickhouse.ClickHouse]:
    """A client whose server does not listen."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # taken, and not listening
        port = listener.getsockname()[1]
        config = dataclasses.replace(settings.CONFIG.clickhouse, url=f"clickhouse://127.0.0.1:{port}/none", timeout=1)
        yield clickhouse.ClickHouse(config)
