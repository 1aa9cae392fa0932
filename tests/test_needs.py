"""What a run starts: the services and programs that its test files need, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import needs

DATABASE, KAFKA, CLICKHOUSE = "DATABASE_URL", "KAFKA_BROKERS", "CLICKHOUSE_URL"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def test_it() -> None: ...", set()),
        ('"""Nothing of Kafka or ClickHouse."""\n# kafka\ndef test_it() -> None:\n    """As Kafka does."""', set()),
        ("def test_it(db: None) -> None: ...", {DATABASE}),
        ("import pytest\npytestmark = pytest.mark.django_db", {DATABASE}),
        ("import pytest\npytestmark = pytest.mark.usefixtures('transactional_db')", {DATABASE}),
        ("@pytest.fixture\ndef rows(db): ...\ndef test_it(rows): ...", {DATABASE}),
        ("@pytest.fixture(autouse=True)\ndef rows(db): ...\ndef test_it(): ...", {DATABASE}),
        ("from smsgateway.kafka import client", {KAFKA}),
        ("from tests.support.kafka_topics import a_topic", {KAFKA}),
        ("def test_it(settings):\n    settings.CONFIG.clickhouse", {CLICKHOUSE}),
        ("from tests.support.statistics import ask", {CLICKHOUSE}),
    ],
)
def test_services_that_a_file_needs(tmp_path: Path, source: str, expected: set[str]) -> None:
    (tmp_path / "test_it.py").write_text(source)
    assert needs.services([tmp_path / "test_it.py"]) == expected


def test_fixtures_of_the_conftests_above_count() -> None:
    assert needs.services([needs.TESTS / "balance" / "test_services.py"]) == {DATABASE}  # by make_customer
    assert needs.services([needs.TESTS / "flow" / "test_flow.py"]) == {DATABASE, KAFKA, CLICKHOUSE}
    assert needs.services([needs.TESTS / "sms" / "test_encoding.py"]) == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def test_it() -> None: ...", False),
        ("import subprocess", True),
        ("from tests.support.browser import chromium", True),
        ("from apps.devservices.gateway import Gateway", True),
        ("from tests.support.worker_processes import worker", True),
        ("from smsgateway.kafka import client", True),
        ("from smsgateway import clickhouse", True),
        ("def test_it(db: None) -> None: ...", False),
    ],
)
def test_a_file_that_needs_more_than_python_and_postgresql_is_slow(tmp_path: Path, source: str, expected: bool) -> None:
    (tmp_path / "test_it.py").write_text(source)
    assert needs.is_slow(tmp_path / "test_it.py") is expected
