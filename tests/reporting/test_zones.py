"""Which time zones may be asked for: those that ClickHouse has, by their names, wherever a zone is read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.test import Client, override_settings

from smsgateway import ids
from smsgateway.clickhouse import ClickHouse
from smsgateway.config.operators import check_zone
from smsgateway.zones import UnknownZone, zone_named, zone_names
from tests.support.customers import MakeCustomer
from tests.support.events import accepted, message_id, write

MOMENT = dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC)

NO_ZONES = (
    "right/UTC",
    "right/Asia/Tehran",
    "posix/UTC",
    "posix/Asia/Tehran",
    "posixrules",
    "localtime",
    "asia/tehran",
    "ASIA/TEHRAN",
    "utc",
    "Asia/Tehran ",
    "Asia//Tehran",
    "Asia/../Asia/Tehran",
    "../etc/passwd",
    "/usr/share/zoneinfo/UTC",
    "Asia",
    "zone.tab",
    "tzdata.zi",
    "GMT+3",
    "UTC0",
    "+03:30",
    "Asia/Tehran\x00",
    "Asia/Tehr\u0101n",
    "'",
    "",
)


@pytest.fixture
def client(database: ClickHouse) -> Iterator[Client]:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


@pytest.fixture
def asked(customer: UUID) -> dict[str, str]:
    return {"customer_id": ids.to_text(customer), "from": "2026-03-04T00:00Z", "to": "2026-03-08T00:00Z"}


def refused(response: Any) -> list[tuple[str, str]]:
    assert response.status_code == 400, response.content
    return [(error["field"], error["code"]) for error in response.json()["errors"]]


@pytest.mark.parametrize("name", NO_ZONES)
def test_an_unknown_zone_is_refused_everywhere(
    client: Client, asked: dict[str, str], make_customer: MakeCustomer, name: str
) -> None:
    for address in ("minute", "daily", "summary"):
        assert refused(client.get(f"/v1/stats/{address}", asked | {"tz": name})) == [("tz", "unknown_zone")]
    statement = f"/v1/customers/{ids.to_text(make_customer(balance=0))}/statement"
    assert refused(client.get(statement, {"month": "2026-03", "tz": name})) == [("tz", "unknown_zone")]


def test_every_zone_of_clickhouse_is_answered(
    client: Client, asked: dict[str, str], database: ClickHouse, customer: UUID
) -> None:
    write(database, accepted(customer, message_id(MOMENT)))
    names = [name for (name,) in database.query("SELECT time_zone FROM system.time_zones ORDER BY time_zone")]
    assert len(names) > 500
    for name in names:
        answer = client.get("/v1/stats/summary", asked | {"tz": name, "group_by": "day", "fill": "1"})
        assert answer.status_code == 200, (name, answer.content)
        date = MOMENT.astimezone(zone_named(name)).date().isoformat()
        assert [row["day"] for row in answer.json()["rows"] if row["accepted"]] == [date], name


def test_no_zone_of_clickhouse_is_unknown_here(database: ClickHouse) -> None:
    names = {name for (name,) in database.query("SELECT time_zone FROM system.time_zones")}
    assert zone_names() >= names
    with pytest.raises(UnknownZone, match="Asia/Tehran"):
        zone_named("right/UTC")


@pytest.mark.parametrize("name", ["right/UTC", "localtime", "asia/tehran"])
def test_an_operators_zone_is_one_of_them(name: str) -> None:
    check_zone("")
    check_zone("Asia/Calcutta")
    with pytest.raises(ValueError, match="Asia/Tehran"):
        check_zone(name)


@pytest.mark.parametrize("bound", ["0001-01-01", "9999-12-31", "1970-01-01", "2106-01-01"])
@pytest.mark.parametrize("name", ["Pacific/Kiritimati", "Etc/GMT+12", "Asia/Tehran"])
def test_a_date_at_the_end_of_time_is_answered_or_refused(
    client: Client, asked: dict[str, str], bound: str, name: str
) -> None:
    for more in ({"from": bound}, {"to": bound}, {"from": bound, "to": bound[:-2] + "03"}):
        for address in ("daily", "summary"):
            answer = client.get(f"/v1/stats/{address}", asked | more | {"tz": name, "fill": "1"})
            assert answer.status_code in (200, 400), answer.content
