"""A ClickHouse of its own for the tests of the development server, shared by all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_driver import Client

from apps.devservices import stack
from apps.devservices.processes import read_text

ONLY_CLICKHOUSE = {"DATABASE_URL": "postgres://elsewhere/x", "KAFKA_BROKERS": "elsewhere:9092"}


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("clickhouse")
    yield stack.up(directory, environ=ONLY_CLICKHOUSE, bound_to_pid=os.getpid())["CLICKHOUSE_URL"]
    stack.down(directory)


@pytest.fixture
def client(clickhouse_url: str) -> Iterator[Client]:
    with Client.from_url(clickhouse_url) as connected:
        connected.execute("CREATE DATABASE test")
        connected.execute("USE test")
        yield connected
        connected.disconnect()  # a test may have left it within an answer
        connected.execute("DROP DATABASE IF EXISTS test")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A folder whose services are stopped after the test."""
    services = tmp_path / "services"
    yield services
    stack.down(services)
    # pytest's folder is closed to others, so for root the data of PostgreSQL lies elsewhere.
    if location := read_text(services / "postgres.location"):
        shutil.rmtree(location, ignore_errors=True)
