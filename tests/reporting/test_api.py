"""The reporting API over HTTP."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.test import Client, override_settings

from smsgateway import clickhouse, ids
from smsgateway.clickhouse import ClickHouse
from tests.support.events import accepted, message_id, refund, status, write

START = dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC)


@pytest.fixture
def client(database: ClickHouse) -> Any:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


@pytest.fixture
def question(customer: UUID) -> dict[str, str]:
    return {"customer_id": ids.to_text(customer), "from": "2026-03-05T00:00:00Z", "to": "2026-03-06T00:00:00Z"}


def test_minute_statistics(client: Client, database: ClickHouse, customer: UUID, question: dict[str, str]) -> None:
    first, second, third = message_id(START), message_id(START), message_id(START + dt.timedelta(minutes=1))
    write(
        database,
        *(accepted(customer, message) for message in (first, second, third)),
        status(customer, first, "delivered"),
        status(customer, second, "failed"),
        refund(customer, second),
    )

    response = client.get("/v1/stats/minute", question)

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    none = {"undelivered": 0, "rejected": 0, "expired": 0, "canceled": 0}
    assert response.json() == {
        "customer_id": ids.to_text(customer),
        "from": "2026-03-05T00:00:00Z",
        "to": "2026-03-06T00:00:00Z",
        "interval": "minute",
        "rows": [
            {
                "time": "2026-03-05T08:30:00Z",
                "operator": "mci",
                "accepted": 2,
                "segments": 4,
                "cost": 400,
                "delivered": 1,
                "failed": 1,
                "pending": 0,
                "refunded": 200,
                **none,
            },
            {
                "time": "2026-03-05T08:31:00Z",
                "operator": "mci",
                "accepted": 1,
                "segments": 2,
                "cost": 200,
                "delivered": 0,
                "failed": 0,
                "pending": 1,
                "refunded": 0,
                **none,
            },
        ],
        "totals": {
            "accepted": 3,
            "segments": 6,
            "cost": 600,
            "delivered": 1,
            "failed": 1,
            "pending": 1,
            "refunded": 200,
            **none,
        },
    }


def test_daily_statistics_take_dates(client: Client, database: ClickHouse, customer: UUID) -> None:
    write(database, accepted(customer, message_id(START)))
    write(database, accepted(customer, message_id(START + dt.timedelta(days=1))))
    asked = {"customer_id": ids.to_text(customer), "from": "2026-03-05", "to": "2026-03-06"}

    answer = client.get("/v1/stats/daily", asked).json()

    assert answer["interval"] == "daily"
    assert (answer["from"], answer["to"]) == ("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z")
    assert [(row["time"], row["accepted"]) for row in answer["rows"]] == [("2026-03-05", 1)]


def test_times_may_have_any_offset_and_case_of_the_id_does_not_matter(
    client: Client, database: ClickHouse, customer: UUID
) -> None:
    write(database, accepted(customer, message_id(START)))
    asked = {
        "customer_id": ids.to_text(customer).lower(),
        "from": "2026-03-05T12:00:00+03:30",
        "to": "2026-03-05T12:01:00+03:30",
    }

    answer = client.get("/v1/stats/minute", asked).json()

    assert (answer["from"], answer["totals"]["accepted"]) == ("2026-03-05T08:30:00Z", 1)


def test_the_operator_filters(client: Client, database: ClickHouse, customer: UUID, question: dict[str, str]) -> None:
    write(database, accepted(customer, message_id(START), operator="mci"))
    write(database, accepted(customer, message_id(START), operator="irancell"))

    answer = client.get("/v1/stats/minute", question | {"operator": "irancell"}).json()

    assert [row["operator"] for row in answer["rows"]] == ["irancell"]


def test_no_messages_are_empty_rows_and_zero_totals(client: Client, question: dict[str, str]) -> None:
    answer = client.get("/v1/stats/daily", question).json()

    assert answer["rows"] == []
    assert set(answer["totals"].values()) == {0}


def complaints(response: Any) -> dict[str, str]:
    """The wrong parameters of a problem document, with what is said of them."""
    assert response.status_code == 400
    problem = msgspec.json.decode(response.content)
    assert problem["code"] == "invalid_request"
    return {error["field"]: f"{error['code']}: {error['reason']}" for error in problem["errors"]}


def test_every_missing_parameter_is_named(client: Client) -> None:
    assert complaints(client.get("/v1/stats/minute")).keys() == {"customer_id", "from", "to"}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("customer_id", "42", "ULID"),
        ("customer_id", "ñ" * 26, "ULID"),
        ("from", "yesterday", "ISO 8601"),
        ("from", "2026-03-05T00:00:00 03:30", "%2B"),
        ("from", "2026-03-05T00:00:00", "offset"),
        ("from", "0001-01-01T00:00:00+14:00", "between 1970"),
        ("to", "9999-12-31T23:59:59-14:00", "between 1970"),
        ("to", "2026-03-05T00:00:00Z", "later than from"),
        ("to", "2026-03-12T00:00:01Z", "7 days"),
        ("operator", "", "operator"),
        ("operator", "mci' OR 1", "operator"),
        ("customer", "x", "use customer_id, from, to, operator"),
    ],
)
def test_a_wrong_parameter_is_named_with_the_reason(
    client: Client, question: dict[str, str], field: str, value: str, reason: str
) -> None:
    found = complaints(client.get("/v1/stats/minute", question | {field: value}))

    assert found.keys() == {field}
    assert reason in found[field]


def test_a_repeated_parameter_is_refused(client: Client, question: dict[str, str]) -> None:
    repeated = question | {"operator": ["mci", "irancell"]}

    assert complaints(client.get("/v1/stats/minute", repeated)).keys() == {"operator"}


def test_the_longest_daily_range_is_400_days(client: Client, question: dict[str, str]) -> None:
    whole = question | {"from": "2025-01-01", "to": "2026-02-05"}
    assert client.get("/v1/stats/daily", whole).status_code == 200

    assert "400 days" in complaints(client.get("/v1/stats/daily", whole | {"to": "2026-02-06"}))["to"]


def test_clickhouse_down_is_503_and_worth_a_retry(
    client: Client, away: ClickHouse, question: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse, "default", lambda: away)

    response = client.get("/v1/stats/minute", question)

    assert response.status_code == 503
    assert response.json()["code"] == "statistics_unavailable"
    assert response["Retry-After"] == "1"
