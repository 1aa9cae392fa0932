"""What the reporting API answers has the form that its OpenAPI document says: every field, and the headers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import get_args
from uuid import UUID

import pytest
from django.test import Client, override_settings

from apps.reporting.openapi import Grouping
from apps.reporting.queries.summary import GROUPINGS
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse
from tests.support.customers import MakeCustomer
from tests.support.events import accepted, message_id, refund, status, write
from tests.support.openapi_documents import checked, operation

START = dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC)


@pytest.fixture
def client(database: ClickHouse) -> Iterator[Client]:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


@pytest.fixture
def asked(database: ClickHouse, customer: UUID) -> dict[str, str]:
    """A range of the customer, in which each kind of value has one."""
    first, second, third = (message_id(START) for _ in range(3))
    write(
        database,
        *(accepted(customer, message) for message in (first, second, third)),
        status(customer, first, "submitted", after=100),
        status(customer, first, "delivered", after=4100),
        status(customer, second, "failed"),
        refund(customer, second),
    )
    return {"customer_id": ids.to_text(customer), "from": "2026-03-05T00:00:00Z", "to": "2026-03-06T00:00:00Z"}


def test_statistics_answer_as_described(client: Client, asked: dict[str, str]) -> None:
    for name, interval in (("getStatisticsByMinute", "minute"), ("getStatisticsByDay", "daily")):
        found = checked(name, client.get(f"/v1/stats/{interval}", asked), service="reporting")
        assert (found["interval"], found["totals"]["accepted"]) == (interval, 3)
    checked("getStatisticsByDay", client.get("/v1/stats/daily", {**asked, "to": "x"}), 400, service="reporting")


@pytest.mark.parametrize("grouping", [*GROUPINGS, "day,operator,status"])
def test_summaries_answer_as_described(client: Client, asked: dict[str, str], grouping: str) -> None:
    answer = client.get("/v1/stats/summary", {**asked, "group_by": grouping, "delays": "1"})
    found = checked("getSummary", answer, service="reporting")
    assert set(grouping.split(",")) <= found["rows"][0].keys()


def test_the_groupings_are_those_of_the_code() -> None:
    assert get_args(Grouping) == GROUPINGS


def test_an_export_has_the_headers_that_are_described(client: Client, asked: dict[str, str]) -> None:
    headers = operation("exportMessages", "reporting")["responses"]["200"]["headers"]
    response = client.get("/v1/export", asked, headers={"Accept-Encoding": "gzip"})
    assert len(b"".join(response)) > 0
    assert set(headers) <= response.headers.keys()
    assert response.headers.keys() - {"Content-Type", "X-Accel-Buffering"} == headers.keys()


def test_a_statement_answers_as_described(client: Client, make_customer: MakeCustomer) -> None:
    month = f"{dt.datetime.now(dt.UTC):%Y-%m}"
    path = f"/v1/customers/{ids.to_text(make_customer())}/statement"
    found = checked("getStatement", client.get(path, {"month": month}), service="reporting")
    assert [movement["amount"] for movement in found["movements"] if movement["kind"] == "topup"] == [1_000_000]
