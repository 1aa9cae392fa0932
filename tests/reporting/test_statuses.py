"""Every status that a message can have is found by its name, and any other name is refused with the choices."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pyarrow.parquet as pq
import pytest
from django.test import Client, override_settings

from apps.reconciliation.service import reconcile
from apps.sms import statuses
from apps.sms.models import Message, OutboxEntry
from apps.sms.outbox.relay import accepted_event
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse
from tests.support.customers import MakeCustomer
from tests.support.events import accepted, message_id, status, write

START = dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC)


@pytest.fixture
def client(database: ClickHouse) -> Iterator[Client]:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


@pytest.fixture
def asked(customer: UUID) -> dict[str, str]:
    return {"customer_id": ids.to_text(customer), "from": "2026-03-05", "to": "2026-03-06"}


@pytest.fixture
def one_of_each(database: ClickHouse, customer: UUID) -> dict[str, str]:
    """By status: the id of the one message that has it."""
    made = {name: message_id(START + dt.timedelta(minutes=number)) for number, name in enumerate(statuses.ORDER)}
    due = ids.milliseconds(made["scheduled"]) + 3_600_000
    plain = [accepted(customer, message) for name, message in made.items() if name != "scheduled"]
    scheduled = msgspec.structs.replace(accepted(customer, made["scheduled"]), due_at=due)
    # What was scheduled, and is not any more, has the status that it reached.
    sent = msgspec.structs.replace(plain[-1], due_at=due)
    reached = [status(customer, made[name], name) for name in statuses.ORDER if name not in ("accepted", "scheduled")]
    write(database, *plain[:-1], sent, scheduled, *reached)
    return {name: ids.to_text(message) for name, message in made.items()}


def exported(response: Any, form: str) -> list[tuple[str, str]]:
    assert response.status_code == 200, response.content
    body = b"".join(response.streaming_content)
    if form == "parquet":
        rows = pq.read_table(io.BytesIO(body)).to_pylist()
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(body.decode())))
    else:
        rows = [json.loads(line) for line in body.splitlines()]
    return [(row["id"], row["status"]) for row in rows]


@pytest.mark.parametrize("name", statuses.ORDER)
def test_a_status_finds_its_messages(
    client: Client, asked: dict[str, str], one_of_each: dict[str, str], name: str
) -> None:
    for form in ("csv", "ndjson", "parquet"):
        found = client.get("/v1/export", asked | {"status": name, "format": form})
        assert exported(found, form) == [(one_of_each[name], name)]
    for more in ({}, {"group_by": "status"}, {"group_by": "day"}, {"group_by": "minute,status"}):
        rows = client.get("/v1/stats/summary", asked | {"status": name} | more).json()["rows"]
        assert [row["accepted"] for row in rows] == [1], more
        assert rows[0].get("status", name) == name
        assert rows[0]["pending"] == (name not in statuses.FINAL)


@pytest.mark.parametrize("address", ["export", "stats/summary"])
@pytest.mark.parametrize("name", ["lost", "Delivered", "delivered,failed", ""])
def test_another_status_is_refused_with_the_choices(
    client: Client, asked: dict[str, str], address: str, name: str
) -> None:
    response = client.get(f"/v1/{address}", asked | {"status": name})
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert (error["field"], error["code"]) == ("status", "invalid")
    assert error["reason"] == f"must be one of {', '.join(statuses.ORDER)}"


def test_another_encoding_is_refused_with_the_choices(client: Client, asked: dict[str, str]) -> None:
    response = client.get("/v1/stats/summary", asked | {"encoding": "GSM7"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["reason"] == "must be one of gsm7, ucs2"


@pytest.mark.django_db
def test_reporting_and_the_list_agree_on_every_status(
    post: Any, api: Any, client: Client, make_customer: MakeCustomer, database: ClickHouse
) -> None:
    customer = make_customer()
    later = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)).isoformat()
    given = ids.to_text(customer)
    messages = [{"to": f"0912123456{number}", "text": "hi"} for number in range(5)]
    messages[0]["send_at"] = messages[1]["send_at"] = later
    with override_settings(ROOT_URLCONF="smsgateway.urls.api"):
        assert post("/v1/sms/batch", {"customer_id": given, "messages": messages}).status_code == 200
    found = list(Message.objects.filter(customer_id=customer).order_by("id"))
    reached = [
        status(customer, found[message].id, name)
        for message, name in ((1, "submitted"), (2, "delivered"), (3, "queued"), (2, "queued"))
    ]
    statuses_settle(batch=reached)
    OutboxEntry.objects.all().delete()
    write(database, *(accepted_event(message, currency="IRR") for message in found), *reached)

    listed = {}
    for name in statuses.ORDER:
        with override_settings(ROOT_URLCONF="smsgateway.urls.api"):
            answer = api.get("/v1/sms", {"customer_id": given, "status": name}).json()
        listed[name] = sorted(message["id"] for message in answer["messages"])
    reported = {}
    for name in statuses.ORDER:
        answer = client.get("/v1/export", {"customer_id": given, "status": name})
        reported[name] = sorted(message for message, _ in exported(answer, "csv"))
    assert reported == listed
    assert {name: len(messages) for name, messages in listed.items() if messages} == {
        "accepted": 1,
        "scheduled": 1,
        "queued": 1,
        "submitted": 1,
        "delivered": 1,
    }


@pytest.mark.django_db
def test_reconciliation_agrees_and_brings_old_statistics_up_to_date(
    post: Any, make_customer: MakeCustomer, database: ClickHouse, settings: Any
) -> None:
    customer = make_customer()
    later = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)).isoformat()
    sent = {"customer_id": ids.to_text(customer), "to": "09121234567", "text": "hi", "send_at": later}
    assert post("/v1/sms/send", sent).status_code == 200
    OutboxEntry.objects.all().delete()
    message = Message.objects.get(customer_id=customer)
    write(database, accepted_event(message, currency="IRR"))
    minute = ids.milliseconds(message.id) // 60_000 * 60
    today = dt.datetime.fromtimestamp(minute, tz=dt.UTC).date()
    asked = {
        "database": database,
        "pause": lambda _seconds: None,
        "config": settings.CONFIG,
        "first": today,
        "last": today,
        "customer_id": customer,
    }
    assert reconcile(**asked).agrees

    # Statistics as they were computed before a scheduled message was shown as such.
    for table in ("sms_minutes", "sms_days"):
        database.execute(
            f"INSERT INTO {table} SELECT * REPLACE"  # of this test
            " (arrayMap(name -> if(name = 'scheduled', 'accepted', name), `groups.status`) AS `groups.status`)"
            f" FROM {table} FINAL WHERE customer_id = %(customer)s",
            {"customer": customer},
        )
    assert not reconcile(**asked).agrees
    reconcile(**asked, repair=True)
    assert reconcile(**asked).agrees
