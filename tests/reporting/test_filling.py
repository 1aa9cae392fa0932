"""Filled intervals: rows are only added, and an interval is the same hour or day that the zone's own clock shows."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.test import Client, override_settings

from apps.reporting.queries import summary
from apps.reporting.queries.stats import COUNTS
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse
from tests.support.events import accepted, message_id, refund, status, write

# Moments at which clocks change somewhere.
CHANGES = {
    dt.datetime(1972, 1, 7, tzinfo=dt.UTC): ["Africa/Monrovia"],  # from 44 minutes and 30 seconds
    dt.datetime(2011, 11, 6, 2, 31, tzinfo=dt.UTC): ["America/St_Johns"],  # a minute after midnight
    dt.datetime(2011, 12, 30, 10, tzinfo=dt.UTC): ["Pacific/Apia"],  # over the date line
    dt.datetime(2018, 5, 4, 15, tzinfo=dt.UTC): ["Asia/Pyongyang"],  # by half an hour, before midnight
    dt.datetime(2022, 3, 21, 20, 30, tzinfo=dt.UTC): ["Asia/Tehran"],  # no midnight
    dt.datetime(2022, 9, 21, 19, 30, tzinfo=dt.UTC): ["Asia/Tehran", "Asia/Kathmandu"],
    dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC): ["Europe/Berlin", "Africa/Casablanca", "Asia/Beirut"],
    dt.datetime(2026, 4, 4, 15, tzinfo=dt.UTC): ["Australia/Lord_Howe", "Pacific/Chatham", "America/Santiago"],
    dt.datetime(2026, 10, 3, 15, 30, tzinfo=dt.UTC): ["Australia/Lord_Howe", "Pacific/Chatham", "Australia/Eucla"],
    dt.datetime(2026, 11, 1, 5, tzinfo=dt.UTC): ["America/Havana", "America/New_York", "UTC", "Etc/GMT+12"],
}
ZONES = sorted({zone for zones in CHANGES.values() for zone in zones})


@pytest.fixture(scope="module")
def customer() -> UUID:
    return ids.new_id()


@pytest.fixture(scope="module")
def moments(database: ClickHouse, customer: UUID) -> list[dt.datetime]:
    """When messages were accepted: around each change, in several groups; some ended, some were refunded."""
    chance = random.Random(13)
    found, made = [], []
    for change in CHANGES:
        for _ in range(120):
            moment = change + dt.timedelta(minutes=round(chance.choice([90, 1500, 4300]) * chance.uniform(-1, 1)))
            message = message_id(moment)
            found.append(moment)
            made.append(accepted(customer, message, operator=chance.choice(["mci", "irancell"])))
            if chance.random() < 0.7:
                made.append(status(customer, message, "submitted"))
                made.append(status(customer, message, chance.choice(["delivered", "failed", "unknown"]), after=5000))
            if chance.random() < 0.2:
                made.append(refund(customer, message))
    write(database, *made)
    return found


@pytest.fixture
def client(database: ClickHouse) -> Iterator[Client]:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


def get(client: Client, name: str, asked: dict[str, str], **more: str) -> dict[str, Any]:
    response = client.get(f"/v1/stats/{name}", asked | more)
    assert response.status_code == 200, (asked, more, response.content)
    return dict(response.json())


def added_up(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in COUNTS}


def by_content(row: dict[str, Any]) -> str:
    return str(sorted(row.items()))


def random_range(chance: random.Random, longest: int) -> dict[str, str]:
    """From some minutes before or after a change, up to `longest` days long."""
    since = chance.choice(list(CHANGES)) + dt.timedelta(minutes=chance.randrange(-6000, 3000))
    minutes = min(longest * 1440, round(2 ** chance.uniform(0, 17.5)))
    return {"from": since.isoformat(), "to": (since + dt.timedelta(minutes=minutes)).isoformat()}


def test_500_random_queries_have_the_same_sum_filled_and_not(
    client: Client, customer: UUID, moments: list[dt.datetime]
) -> None:
    chance = random.Random(500)
    begun_before = filled_further = 0
    for _ in range(500):
        step = chance.choice(["minute", "hour", "hour", "day", "day"])
        keys = chance.sample(
            ["operator", "country", "encoding", "status", "error", "customer"], chance.choice([0, 1, 2])
        )
        groups = chance.sample([step, *keys], 1 + len(keys))
        asked = (
            random_range(chance, 7 if step == "minute" else 92)
            | {
                "customer_id": ids.to_text(customer),
                "tz": chance.choice(ZONES),
                "group_by": ",".join(groups),
            }
            | ({"delays": "1"} if chance.random() < 0.1 else {})
        )
        plain, filled = get(client, "summary", asked), get(client, "summary", asked, fill="1")
        assert added_up(filled["rows"]) == added_up(plain["rows"]), asked
        added = [row for row in filled["rows"] if not row["accepted"]]
        kept = [row for row in filled["rows"] if row["accepted"]]
        assert sorted(kept, key=by_content) == sorted(plain["rows"], key=by_content), asked
        assert not any(added_up(added).values()), asked
        begun_before += any(row[step] < asked["from"] for row in plain["rows"])
        filled_further += bool(added)
    assert begun_before > 50  # the first interval began before the range
    assert filled_further > 100


@pytest.mark.parametrize(("name", "longest"), [("minute", 7), ("daily", 92)])
def test_a_customers_intervals_have_the_same_sum_filled_and_not(
    client: Client, customer: UUID, moments: list[dt.datetime], name: str, longest: int
) -> None:
    chance = random.Random(name)
    for _ in range(40):
        asked = random_range(chance, longest) | {"customer_id": ids.to_text(customer), "tz": chance.choice(ZONES)}
        plain, filled = get(client, name, asked), get(client, name, asked, fill="1")
        assert filled["totals"] == plain["totals"], asked
        assert [row for row in filled["rows"] if row["accepted"]] == plain["rows"], asked


@pytest.mark.parametrize(("change", "zone"), [(change, zone) for change, zones in CHANGES.items() for zone in zones])
def test_an_hour_is_what_the_clock_of_the_zone_shows(
    client: Client, customer: UUID, moments: list[dt.datetime], change: dt.datetime, zone: str
) -> None:
    since, until = change - dt.timedelta(days=4), change + dt.timedelta(days=4)
    asked = {"customer_id": ids.to_text(customer), "from": since.isoformat(), "to": until.isoformat(), "tz": zone}
    rows = get(client, "summary", asked, group_by="hour", fill="1")["rows"]

    def shown(moment: dt.datetime) -> tuple[dt.date, int, dt.timedelta | None]:
        there = moment.astimezone(ZoneInfo(zone))
        return there.date(), there.hour, there.utcoffset()

    expected: Counter[Any] = Counter()
    for minute in range(8 * 1440):
        expected[shown(since + dt.timedelta(minutes=minute))] += 0
    expected.update(shown(moment) for moment in moments if since <= moment < until)
    starts = [dt.datetime.fromisoformat(row["hour"]) for row in rows]
    found = Counter({shown(start): row["accepted"] for start, row in zip(starts, rows, strict=True)})
    assert len(found) == len(rows)
    assert found == expected


@pytest.mark.parametrize(("change", "zone"), [(change, zone) for change, zones in CHANGES.items() for zone in zones])
def test_a_day_lasts_from_its_midnight_to_the_next(
    client: Client, customer: UUID, moments: list[dt.datetime], change: dt.datetime, zone: str
) -> None:
    first, last = ((change + dt.timedelta(days=days)).astimezone(ZoneInfo(zone)).date() for days in (-4, 4))
    bounds = {"from": first.isoformat(), "to": last.isoformat()}
    if zone == "Africa/Monrovia":  # its midnight is no whole minute of UTC
        bounds = {
            "from": (change - dt.timedelta(days=4)).isoformat(),
            "to": (change + dt.timedelta(days=4)).isoformat(),
        }
    asked = bounds | {"customer_id": ids.to_text(customer), "tz": zone}
    rows = get(client, "summary", asked, group_by="day", fill="1")["rows"]
    by_date = {row["day"]: row["accepted"] for row in rows}
    assert list(by_date) == sorted(by_date)
    assert len(by_date) == len(rows)
    if zone == "Pacific/Apia":
        assert "2011-12-30" not in by_date

    expected = Counter(moment.astimezone(ZoneInfo(zone)).date().isoformat() for moment in moments)
    for date, count in by_date.items():
        if date in (rows[0]["day"], rows[-1]["day"]) or (
            zone == "America/St_Johns" and date in ("2011-11-05", "2011-11-06")
        ):
            continue  # cut by the range, or a day whose date comes back for an hour
        assert count == expected[date], date


def test_the_rest_of_the_first_hour_is_counted(client: Client, customer: UUID, database: ClickHouse) -> None:
    moment = dt.datetime(2025, 6, 3, 9, 10, tzinfo=dt.UTC)  # 12:40 in Tehran
    write(database, *(accepted(customer, message_id(moment)) for _ in range(3)))
    asked = {"customer_id": ids.to_text(customer), "from": "2025-06-03T09:00Z", "to": "2025-06-03T11:00Z"}
    rows = get(client, "summary", asked, group_by="hour", tz="Asia/Tehran", fill="1")["rows"]
    assert [(row["hour"], row["accepted"]) for row in rows] == [
        ("2025-06-03T12:00:00+03:30", 3),
        ("2025-06-03T13:00:00+03:30", 0),
        ("2025-06-03T14:00:00+03:30", 0),
    ]
    quarter = get(client, "summary", asked, group_by="hour", tz="Asia/Kathmandu", fill="1")["rows"]
    assert [(row["hour"], row["accepted"]) for row in quarter] == [
        ("2025-06-03T14:00:00+05:45", 3),
        ("2025-06-03T15:00:00+05:45", 0),
        ("2025-06-03T16:00:00+05:45", 0),
    ]


def test_a_summary_with_too_many_rows_of_zeros_keeps_its_rows_and_is_truncated(
    client: Client, customer: UUID, moments: list[dt.datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = dt.datetime(2026, 3, 29, tzinfo=dt.UTC)
    bounds = {"from": change.isoformat(), "to": (change + dt.timedelta(days=2)).isoformat()}
    asked = bounds | {"customer_id": ids.to_text(customer), "group_by": "hour,operator,status"}
    plain = get(client, "summary", asked)
    assert len(get(client, "summary", asked, fill="1")["rows"]) > len(plain["rows"])
    monkeypatch.setattr(summary, "MAX_FILLED_ROWS", 48)
    filled = get(client, "summary", asked, fill="1")
    assert filled["rows"] == plain["rows"]
    assert (plain["truncated"], filled["truncated"]) == (False, True)
