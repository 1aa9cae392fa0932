"""When a clock jumps: an insert beyond the last partition is refused whole, and no young partition is archived."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from rest_framework.test import APIClient

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.sms.models import IdempotencyRecord, Message, OutboxEntry
from apps.sms.partitions import partitioned_tables
from smsgateway import ids, partitions
from smsgateway.http import health
from smsgateway.partitions import lock as maintenance_lock
from smsgateway.partitions import maintenance
from tests.support.customers import MakeCustomer
from tests.support.partitions import OLD, fill, run

NOW = dt.datetime.now(tz=dt.UTC)


def ids_of(moment: dt.datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's clock says this, so its ids do."""
    first = ids.lowest_id(moment).int
    monkeypatch.setattr(ids, "new_ids", lambda count: [UUID(int=first + offset) for offset in range(count)])


@pytest.mark.parametrize("away", [dt.timedelta(days=40), dt.timedelta(days=-300)], ids=["ahead", "behind"])
@pytest.mark.parametrize("batch", [False, True], ids=["send", "batch"])
def test_ids_without_a_partition_are_a_503_without_effect(
    transactional_db: None,
    make_customer: MakeCustomer,
    api: APIClient,
    monkeypatch: pytest.MonkeyPatch,
    away: dt.timedelta,
    batch: bool,
) -> None:
    customer_id = make_customer(balance=1000)
    ids_of(NOW + away, monkeypatch)
    one = {"to": "09121234567", "text": "hello"}
    body: dict[str, Any] = {"customer_id": ids.to_text(customer_id)} | ({"messages": [one, one]} if batch else one)
    path = "/v1/sms/batch" if batch else "/v1/sms/send"
    response = api.post(path, body, format="json", headers={"Idempotency-Key": "k"})
    assert (response.status_code, response.json()["code"]) == (503, "partition_missing")
    assert response["Retry-After"]
    assert Account.objects.get().balance == 1000
    assert LedgerEntry.objects.count() == 1
    assert [model.objects.count() for model in (Message, OutboxEntry, IdempotencyRecord)] == [0, 0, 0]
    # The clock is right again: the same key is charged once.
    ids_of(NOW, monkeypatch)
    assert api.post(path, body, format="json", headers={"Idempotency-Key": "k"}).status_code == 200
    assert not accounts_off()


def test_a_machine_whose_clock_is_far_ahead_is_not_ready(
    db: None, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api.get("/readyz").status_code == 200

    class Ahead(dt.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return dt.datetime.now(tz=tz) + dt.timedelta(days=40)

    monkeypatch.setattr(health, "dt", SimpleNamespace(datetime=Ahead, UTC=dt.UTC))
    assert api.get("/readyz").status_code == 503


def test_nothing_is_archived_while_the_clocks_differ(
    old_partitions: list[str], make_customer: MakeCustomer, archive: Path
) -> None:
    fill(make_customer(), 3)
    tables = partitioned_tables(settings.CONFIG)
    # On the same day, so that no partition of a day more stays behind.
    jumped = NOW + dt.timedelta(hours=2 if NOW.hour < 12 else -2)
    with maintenance_lock.session():
        done = maintenance.apply(tables, days_ahead=14, place=str(archive), now=jumped)
    assert done.archived == []
    assert "clocks differ" in done.troubles[0]
    assert set(old_partitions) <= {name for table in tables for name in partitions.names(table.name)}


def test_if_both_clocks_jump_the_newest_row_decides_what_is_old(
    old_partitions: list[str], make_customer: MakeCustomer, archive: Path
) -> None:
    fill(make_customer(), 3)
    far = NOW + dt.timedelta(days=400)
    due = maintenance.overdue(partitioned_tables(settings.CONFIG), far, {})
    assert [partition.name for partition in due] == old_partitions
    assert partitions.name_of("sms_message", NOW.date()) not in {partition.name for partition in due}


def test_without_any_row_nothing_is_archived(old_partitions: list[str], archive: Path) -> None:
    assert run("apply") == "0 partitions created, 0 archived.\n"


def test_an_archived_day_is_not_created_again_when_the_clock_goes_back(
    old_partitions: list[str], make_customer: MakeCustomer, archive: Path
) -> None:
    fill(make_customer(), 3)
    run("apply")
    planned = maintenance.plan(partitioned_tables(settings.CONFIG), days_ahead=4, now=OLD + dt.timedelta(hours=12))
    spans = [span for table, span in planned.create if table == "sms_message"]
    assert [(span.start - OLD).days for span in spans] == [-1, 1, 2, 3, 4]


def test_a_run_after_a_month_catches_up(old_partitions: list[str], make_customer: MakeCustomer, archive: Path) -> None:
    make_customer()
    first = OLD.date() - dt.timedelta(days=30)
    made = partitions.create(first=first, days=30, tables=["sms_message"])
    days = [NOW.date() + dt.timedelta(days=offset) for offset in range(10)]
    with connection.cursor() as cursor:
        for day in days:
            cursor.execute(f"DROP TABLE {partitions.name_of('sms_submittedpart', day)}")
    assert run("apply") == f"{len(days)} partitions created, {len(made) + 4} archived.\n"
    assert partitions.days_ahead("sms_submittedpart", today=NOW.date()) >= 14
    assert partitions.names("sms_message")[0] >= partitions.name_of("sms_message", NOW.date() - dt.timedelta(days=90))
