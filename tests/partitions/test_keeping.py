"""Daily partitions."""

from __future__ import annotations

import datetime as dt
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.test import APIClient

from smsgateway import ids, partitions

TODAY = dt.datetime.now(tz=dt.UTC).date()


def drop_tomorrow() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {partitions.name_of('sms_message', TODAY + dt.timedelta(days=1))}")


def test_the_migration_makes_partitions_ahead_for_each_table(db: None) -> None:
    for table in partitions.TABLES:
        assert partitions.days_ahead(table, today=TODAY) >= 3


def test_apply_creates_what_is_missing_and_then_nothing(db: None) -> None:
    far = TODAY + dt.timedelta(days=400)
    expected = [
        partitions.name_of(table, far + dt.timedelta(days=day)) for table in partitions.TABLES for day in (0, 1)
    ]
    assert partitions.create(first=far, days=2) == expected
    assert partitions.create(first=far, days=2) == []


def test_a_day_holds_exactly_its_ids(db: None) -> None:
    day = TODAY + dt.timedelta(days=500)
    partitions.create(first=day, days=2, tables=["sms_message"])
    midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC)
    with connection.cursor() as cursor:
        for when, holder in ((midnight - dt.timedelta(milliseconds=1), day), (midnight, day + dt.timedelta(days=1))):
            cursor.execute(
                "INSERT INTO sms_message VALUES (%s, %s, '', '', '', '', 1, 1, '', '', now())"
                " RETURNING tableoid::regclass::text",
                [ids.lowest_id(when), ids.new_id()],
            )
            assert cursor.fetchone()[0] == partitions.name_of("sms_message", holder)


def test_check_fails_when_partitions_end_too_soon(db: None) -> None:
    call_command("partitions", "check")
    drop_tomorrow()
    with pytest.raises(CommandError, match=r"run manage\.py partitions apply"):
        call_command("partitions", "check")
    call_command("partitions", "apply", stdout=StringIO())
    call_command("partitions", "check")


def test_a_service_without_tomorrows_partition_is_not_ready(db: None, api: APIClient) -> None:
    assert api.get("/readyz").status_code == 200
    drop_tomorrow()
    response = api.get("/readyz")
    assert response.status_code == 503
    assert "sms_message" in response.json()["partitions"]
