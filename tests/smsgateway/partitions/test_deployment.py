"""A deployment creates partitions and archives nothing: no archive that fails or takes long stops it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.sms.management.commands import partitions as command
from smsgateway import partitions
from smsgateway.partitions.catalog import attached
from smsgateway.partitions.lock import LOCK
from tests.support.customers import MakeCustomer
from tests.support.database import database_url
from tests.support.partitions import configure, fill, run

TODAY = dt.datetime.now(tz=dt.UTC).date()


@pytest.fixture
def another_run(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """Another maintenance holds the lock."""
    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        yield other


def drop_after(days: int) -> None:
    with connection.cursor() as cursor:
        for table in partitions.TABLES:
            for day in range(days + 1, 15):
                name = partitions.name_of(table, TODAY + dt.timedelta(days=day))
                cursor.execute(f"DROP TABLE IF EXISTS {name}")


def test_it_creates_what_is_missing_and_archives_nothing(
    old_partitions: list[str], make_customer: MakeCustomer, settings: Any, tmp_path: Path
) -> None:
    fill(make_customer(balance=10**6), 10)
    (tmp_path / "a file").touch()
    configure(settings, archive=str(tmp_path / "a file" / "archive"), ledger_keep_days=90, submits_keep_days=90)
    drop_after(10)
    with pytest.raises(CommandError, match="Archiving stopped"):
        run("apply")
    drop_after(10)
    assert "created" in run("create")
    assert partitions.days_ahead("sms_message", today=TODAY) == 14
    assert set(old_partitions) <= {one.name for one in attached(*partitions.TABLES)}


def test_another_run_does_not_stop_it(another_run: psycopg.Connection[Any]) -> None:
    out = StringIO()
    call_command("partitions", "create", stdout=out)
    assert "Nothing was created: there are partitions for 14 more days." in out.getvalue()


def test_it_waits_for_another_run_where_partitions_are_needed(
    another_run: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_after(1)
    monkeypatch.setattr(command, "_BUSY_POLL_SECONDS", 0.01)
    try:
        with monkeypatch.context() as at_once:
            at_once.setattr(command, "_BUSY_SECONDS", 0.0)
            with pytest.raises(CommandError) as error:
                call_command("partitions", "create", stdout=StringIO())
            assert error.value.returncode == 75
        ends = SimpleNamespace(
            sleep=lambda _: another_run.execute("SELECT pg_advisory_unlock_all()"), monotonic=time.monotonic
        )
        monkeypatch.setattr(command, "time", ends)
        call_command("partitions", "create", stdout=StringIO())
    finally:
        call_command("partitions", "create", stdout=StringIO())
    assert partitions.days_ahead("sms_message", today=TODAY) == 14


def test_a_run_gives_way_between_two_partitions(
    archive: Path, old_partitions: list[str], make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as to a migration that waits to build an index: archives of days may take hours."""
    fill(make_customer(balance=10**6), 10)
    went_between: list[bool] = []

    def another(_seconds: float) -> None:
        with psycopg.connect(database_url(), autocommit=True) as other:
            [got] = other.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() or [False]
            went_between.append(got)

    clock = SimpleNamespace(sleep=another, monotonic=time.monotonic)
    monkeypatch.setattr("smsgateway.partitions.lock.time", clock)
    run("apply")
    assert went_between
    assert all(went_between)
