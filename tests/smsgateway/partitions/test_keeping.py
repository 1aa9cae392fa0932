"""Partitions are made ahead, by day or by month, without stopping anybody."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import os
import re
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.test import APIClient

from smsgateway import config, ids, partitions
from smsgateway.partitions.spans import midnight
from tests.support.database import database_url
from tests.support.partitions import configure, run

TODAY = dt.datetime.now(tz=dt.UTC).date()
TODAY_MIDNIGHT = midnight(TODAY)


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


def test_months_follow_days_when_the_setting_changes_and_back(db: None, settings: Any) -> None:
    configure(settings, messages_interval="month", days_ahead=60)
    before = partitions.names("sms_message")
    run("apply")
    found = partitions.catalog.attached("sms_message")
    spans = sorted(partition.span for partition in found)
    assert all(earlier.end == later.start for earlier, later in itertools.pairwise(spans))
    assert all((span.end - TODAY_MIDNIGHT).days > 60 for span in spans[-1:])
    months = [partition.name for partition in found if partition.name not in before]
    assert re.fullmatch(r"sms_message_\d{6}", months[-1])
    # Back to days: they begin where the last month ends.
    configure(settings, messages_interval="day", days_ahead=130)
    run("apply")
    spans = sorted(partition.span for partition in partitions.catalog.attached("sms_message"))
    assert all(earlier.end == later.start for earlier, later in itertools.pairwise(spans))
    assert partitions.days_ahead("sms_message", today=TODAY) == 130
    run("apply")


def test_making_and_restoring_wait_for_no_send(transactional_db: None, archive: Path) -> None:
    """A transaction that has written stays open meanwhile. CREATE TABLE … PARTITION OF would wait for it."""
    far = TODAY + dt.timedelta(days=600)
    old = TODAY - dt.timedelta(days=600)
    name = partitions.name_of("sms_message", old)
    partitions.create(first=old, days=1, tables=["sms_message"])
    run("archive", name)
    with psycopg.connect(database_url()) as sending:
        sending.execute(
            "INSERT INTO sms_message VALUES (%s, %s, '', '', '', '', 1, 1, '', '', now())", [ids.new_id(), ids.new_id()]
        )
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
            try:
                [made] = partitions.create(first=far, days=1, tables=["sms_message"])
                run("restore", name)
            finally:
                cursor.execute("RESET lock_timeout")
        assert {made, name} <= set(partitions.names("sms_message"))
        sending.rollback()
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {made}, {name}")
        cursor.execute("DELETE FROM partition_archive")


def test_apply_leaves_its_metrics(db: None, settings: Any, tmp_path: Path) -> None:
    general = dataclasses.replace(settings.CONFIG.general, metrics_textfile_dir=str(tmp_path))
    settings.CONFIG = dataclasses.replace(settings.CONFIG, general=general)
    drop_tomorrow()
    run("apply")
    written = (tmp_path / "smsgateway_partitions.prom").read_text()
    ahead = re.findall(r'partitions_days_ahead\{table="sms_message"\} (\S+)', written)
    assert [float(value) >= 14 for value in ahead] == [True]
    assert "partitions_created 1.0" in written
    assert "partitions_troubles 0.0" in written


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PARTITION_MESSAGES_KEEP_DAYS", "39", "PARTITION_MESSAGES_KEEP_DAYS is 39, less than the 40 days"),
        ("PARTITION_SUBMITS_KEEP_DAYS", "7", "PARTITION_SUBMITS_KEEP_DAYS is 7, less than the 8 days"),
        ("PARTITION_LEDGER_KEEP_DAYS", "20", "PARTITION_LEDGER_KEEP_DAYS is 20"),
        ("SMS_VALIDITY", str(60 * 86_400), "SMS_VALIDITY"),
        ("RECEIPT_WAIT", "720", ""),
    ],
)
def test_rows_are_kept_as_long_as_they_may_change(name: str, value: str, told: str) -> None:
    _, before = config.load(os.environ)
    assert before == []
    _, problems = config.load(dict(os.environ) | {name: value})
    assert [told in problem.message for problem in problems] == ([True] if told else [])
    assert config.load(dict(os.environ) | {name: value, "RECEIPT_WAIT": "720", "SMS_VALIDITY": "2592000"})[1]
