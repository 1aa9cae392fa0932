"""Summaries in any grouping, time zones, filled intervals, limits; over HTTP."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from clickhouse_driver.errors import ErrorCodes
from django.test import Client, override_settings

from apps.reporting.queries import summary
from apps.reporting.queries.quantiles import quantiles
from smsgateway import clickhouse, ids
from smsgateway.clickhouse import ClickHouse, ClickHouseTooSlow
from tests.support.events import accepted, message_id, refund, status, write

START = dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC)


@pytest.fixture
def client(database: ClickHouse) -> Iterator[Client]:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


@pytest.fixture
def asked(customer: UUID) -> dict[str, str]:
    return {"customer_id": ids.to_text(customer), "from": "2026-03-05", "to": "2026-03-08"}


@pytest.fixture
def four(database: ClickHouse, customer: UUID) -> list[UUID]:
    """Two delivered by mci, one failed of irancell a day later, one pending of irancell two days later."""
    moments = [START, START + dt.timedelta(minutes=3), START + dt.timedelta(days=1), START + dt.timedelta(days=2)]
    made = [message_id(moment) for moment in moments]
    write(
        database,
        *(accepted(customer, message, operator="mci") for message in made[:2]),
        *(accepted(customer, message, operator="irancell") for message in made[2:]),
        *(status(customer, message, "submitted", after=100) for message in made[:3]),
        *(status(customer, message, "delivered", after=4100) for message in made[:2]),
        status(customer, made[2], "failed"),
        refund(customer, made[2]),
    )
    return made


def rows(client: Client, asked: dict[str, str], **more: str) -> list[dict[str, Any]]:
    response = client.get("/v1/stats/summary", asked | more)
    assert response.status_code == 200, response.content
    return list(response.json()["rows"])


def test_everything_in_one_row(client: Client, asked: dict[str, str], four: list[UUID]) -> None:
    (row,) = rows(client, asked, delays="1")
    assert (row["accepted"], row["segments"], row["cost"], row["refunded"]) == (4, 8, 800, 200)
    assert (row["delivered"], row["failed"], row["pending"]) == (2, 1, 1)
    assert row["delivery_ms"]["p50"] == pytest.approx(4000, rel=0.2)
    assert row["submit_ms"]["p99"] == pytest.approx(100, rel=0.2)


def test_no_messages_are_one_row_of_zeros(client: Client, asked: dict[str, str]) -> None:
    (row,) = rows(client, asked, delays="1")
    assert (row["accepted"], row["delivery_ms"]) == (0, None)
    (row,) = rows(client, asked)
    assert (row["accepted"], "delivery_ms" in row) == (0, False)


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        ("operator", {("irancell",): 2, ("mci",): 2}),
        ("status", {("delivered",): 2, ("failed",): 1, ("accepted",): 1}),
        ("operator,status", {("irancell", "accepted"): 1, ("irancell", "failed"): 1, ("mci", "delivered"): 2}),
        ("country,encoding", {("IR", "ucs2"): 4}),
        ("day,operator", {("2026-03-05", "mci"): 2, ("2026-03-06", "irancell"): 1, ("2026-03-07", "irancell"): 1}),
        ("hour", {("2026-03-05T08:00:00Z",): 2, ("2026-03-06T08:00:00Z",): 1, ("2026-03-07T08:00:00Z",): 1}),
    ],
)
def test_groupings(
    client: Client, asked: dict[str, str], four: list[UUID], group_by: str, expected: dict[tuple[str, ...], int]
) -> None:
    found = rows(client, asked, group_by=group_by)
    assert {tuple(row[name] for name in group_by.split(",")): row["accepted"] for row in found} == expected


def test_by_customer_over_all_customers(
    client: Client, asked: dict[str, str], four: list[UUID], customer: UUID
) -> None:
    everybody = {name: value for name, value in asked.items() if name != "customer_id"}
    found = {row["customer"]: row["accepted"] for row in rows(client, everybody, group_by="customer")}
    assert found[ids.to_text(customer)] == 4


def test_filters(client: Client, asked: dict[str, str], four: list[UUID]) -> None:
    assert rows(client, asked, operator="irancell", status="failed")[0]["accepted"] == 1
    assert rows(client, asked, encoding="gsm7")[0]["accepted"] == 0


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-03-05T08:30:00Z", "2026-03-07T08:30:00Z", 3),  # minutes, whole days, minutes
        ("2026-03-05T08:31:00Z", "2026-03-07T08:31:00Z", 3),
        ("2026-03-05T08:33:00Z", "2026-03-05T08:34:00Z", 1),  # minutes alone
        ("2026-03-06T00:00:00Z", "2026-03-07T00:00:00Z", 1),  # a day alone
    ],
)
def test_a_range_may_begin_and_end_at_any_minute(
    client: Client, asked: dict[str, str], four: list[UUID], since: str, until: str, expected: int
) -> None:
    assert rows(client, asked | {"from": since, "to": until})[0]["accepted"] == expected


def test_days_begin_where_the_zone_says(
    client: Client, asked: dict[str, str], database: ClickHouse, customer: UUID
) -> None:
    late = dt.datetime(2026, 3, 5, 21, 0, tzinfo=dt.UTC)  # half past midnight in Tehran
    write(database, accepted(customer, message_id(late)))
    utc = rows(client, asked, group_by="day")
    there = rows(client, asked, group_by="day", tz="Asia/Tehran")
    assert [row["day"] for row in utc] == ["2026-03-05"]
    assert [row["day"] for row in there] == ["2026-03-06"]
    daily = client.get("/v1/stats/daily", asked | {"tz": "Asia/Tehran", "to": "2026-03-07"}).json()
    assert daily["from"] == "2026-03-04T20:30:00Z"
    assert [(row["time"], row["accepted"]) for row in daily["rows"]] == [("2026-03-06", 1)]
    hours = rows(client, asked, group_by="hour", tz="Asia/Tehran")
    assert [row["hour"] for row in hours] == ["2026-03-06T00:00:00+03:30"]


def test_empty_intervals_are_filled_when_asked(client: Client, asked: dict[str, str], four: list[UUID]) -> None:
    hour = asked | {"from": "2026-03-05T08:28:00Z", "to": "2026-03-05T08:35:00Z"}
    found = client.get("/v1/stats/minute", hour | {"fill": "1"}).json()["rows"]
    assert [row["accepted"] for row in found] == [0, 0, 1, 0, 0, 1, 0]
    assert {row["operator"] for row in found} == {"mci"}
    days = rows(client, asked, group_by="day,operator", fill="1")
    assert [(row["day"][-2:], row["operator"], row["accepted"]) for row in days] == [
        ("05", "irancell", 0),
        ("05", "mci", 2),
        ("06", "irancell", 1),
        ("06", "mci", 0),
        ("07", "irancell", 1),
        ("07", "mci", 0),
    ]
    none = client.get("/v1/stats/daily", asked | {"from": "2025-03-05", "to": "2025-03-07", "fill": "1"}).json()
    assert [(row["time"], row["operator"], row["accepted"]) for row in none["rows"]] == [
        ("2025-03-05", "", 0),
        ("2025-03-06", "", 0),
    ]


def test_a_filled_day_of_a_changing_clock_is_there_once(client: Client, asked: dict[str, str]) -> None:
    spring = asked | {"from": "2026-03-28", "to": "2026-03-31", "tz": "Europe/Berlin", "fill": "1"}
    found = client.get("/v1/stats/daily", spring).json()
    assert [row["time"] for row in found["rows"]] == ["2026-03-28", "2026-03-29", "2026-03-30"]


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ({"to": "2027-12-01"}, "to", "400 days"),
        ({"to": "2026-03-13", "group_by": "minute"}, "to", "7 days"),
        ({"to": "2026-09-01", "group_by": "hour"}, "to", "92 days"),
        ({"to": "2026-09-01", "group_by": "day", "tz": "Asia/Tehran"}, "to", "92 days"),
        ({"group_by": "sender"}, "group_by", "operator"),
        ({"group_by": "operator,operator"}, "group_by", "once"),
        ({"group_by": "day,hour"}, "group_by", "one of"),
        ({"tz": "Mars/Olympus"}, "tz", "IANA"),
        ({"tz": "../etc/passwd"}, "tz", "IANA"),
        ({"fill": "yes"}, "fill", "0, 1"),
        ({"fill": "1"}, "fill", "group_by"),
        ({"from": "2026-03-05T08:30:01Z"}, "from", "whole minute"),
    ],
)
def test_a_wrong_query_is_refused_with_its_errors(
    client: Client, asked: dict[str, str], more: dict[str, str], field: str, reason: str
) -> None:
    response = client.get("/v1/stats/summary", asked | more)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert reason in error["reason"]


def test_an_answer_without_all_groups_is_marked_as_truncated(
    client: Client, asked: dict[str, str], four: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "MAX_ROWS", 2)
    answer = client.get("/v1/stats/summary", asked | {"group_by": "status"}).json()
    assert (len(answer["rows"]), answer["truncated"]) == (2, True)


def test_a_query_that_takes_too_long_is_stopped_with_an_error(
    client: Client, asked: dict[str, str], database: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClickHouseTooSlow, match=str(ErrorCodes.TIMEOUT_EXCEEDED)):
        database.query("SELECT count() FROM numbers(100000000000) WHERE NOT ignore(sipHash64(number))", seconds=1)

    def too_slow(*_asked: Any, **_more: Any) -> Any:
        raise ClickHouseTooSlow("code 159")

    monkeypatch.setattr(clickhouse.ClickHouse, "query", too_slow)
    response = client.get("/v1/stats/summary", asked)
    assert (response.status_code, response.json()["code"]) == (503, "query_too_slow")
    assert "10 seconds" in response.json()["detail"]


def test_quantiles_lie_in_their_buckets() -> None:
    assert quantiles({}) is None
    assert quantiles({0: 5}) == {"p50": 0, "p90": 0, "p99": 0}
    found = quantiles({40: 98, 60: 2})  # 98 of about a second, 2 of about 33 seconds
    assert found is not None
    assert 1023 <= found["p50"] <= found["p90"] <= 1217
    assert 32767 <= found["p99"] <= 38967
