"""The quickstart and the pages that say how to do something, done literally in a fresh clone: their ```sh blocks."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from smsgateway import ids, partitions
from smsgateway.partitions.spans import midnight
from tests.support.fresh_clone import Clone, running_clone
from tests.support.running_gateway import call
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def clone() -> Iterator[Clone]:
    with running_clone() as clone:
        yield clone


def manage(clone: Clone, command: str, **variables: str) -> str:
    done = clone.run(f"python manage.py {command}", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new_customer(clone: Clone) -> str:
    return manage(clone, 'create_customer "Another"').split()[-1]


def balance(clone: Clone, customer: str) -> int:
    found: int = call("GET", f"{clone.api}/v1/customers/{customer}/balance")[1]["balance"]
    return found


def test_quickstart(clone: Clone) -> None:
    customer = new_customer(clone)
    manage(clone, f"topup {customer} 10000 --reference first")
    told = clone.follow("tutorial/quickstart.md", CUSTOMER=customer)
    assert '"status":"accepted"' in told.replace(" ", "")
    sent = set(re.findall(r'"id": ?"(\w{26})"', told))
    assert len(sent) == 2, "the repeated one was sent once"
    cost = sum(call("GET", f"{clone.api}/v1/sms/{message}")[1]["cost"] for message in sent)
    assert balance(clone, customer) == 10_000 - cost
    for message in sent:
        url = f"{clone.api}/v1/sms/{message}"
        wait_for(lambda: call("GET", url)[1]["status"] == "delivered", "the simulator to deliver it")  # noqa: B023


def test_top_up(clone: Clone) -> None:
    customer = new_customer(clone)
    told = clone.follow("howto/top-up.md", CUSTOMER=customer)
    assert '"balance":500000' in told.replace(" ", "")


def test_rotate_keys(clone: Clone) -> None:
    customer = new_customer(clone)
    old = re.findall(r"sgw_(.{8})", manage(clone, f"api_key create {customer}"))[0]
    told = clone.follow("howto/rotate-keys.md", CUSTOMER=customer, OLD_PREFIX=old)
    (new,) = re.findall(r"sgw_(.{8})\S{8,}", told)
    keys = [json.loads(line) for line in manage(clone, f"api_key list {customer}").splitlines()]
    assert {key["prefix"]: bool(key["revoked_at"]) for key in keys} == {old: True, new: False}


def test_what_is_asked_after_a_deployment(clone: Clone) -> None:
    customer = new_customer(clone)
    manage(clone, f"topup {customer} 10000 --reference first")
    key = manage(clone, f"api_key create {customer}").strip()
    done = clone.run(f"scripts/smoke_test.sh {clone.api} {key} {customer} +989121234567")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] in ("submitted", "delivered")


def test_add_an_operator(clone: Clone) -> None:
    try:
        assert "no issues" in clone.follow("howto/add-an-operator.md")
        done = clone.run("python manage.py check", OPERATOR_SHATEL_PORT="none")
        assert "OPERATOR_SHATEL_PORT" in done.stderr, "what was written is what is checked"
    finally:
        (clone.folder / ".env").unlink()


def test_replay_dead_letters(clone: Clone) -> None:
    producer = Producer({"bootstrap.servers": clone.services["KAFKA_BROKERS"]})
    producer.produce("sms.status", b"no event", b"key")
    assert producer.flush(30) == 0
    # Settlement and the bridge each put it aside.
    wait_for(lambda: len(manage(clone, "dlq list").splitlines()) >= 2, "dead letters")
    assert re.search(r"^\d+ replayed\.$", clone.follow("howto/replay-dead-letters.md"), re.MULTILINE)


def test_restore_a_partition(clone: Clone) -> None:
    (clone.folder / "archive").mkdir()
    archive = {"PARTITION_ARCHIVE": str(clone.folder / "archive")}
    body = {"customer_id": clone.customer, "to": "09121234501", "text": "Hello"}
    sent = call("POST", f"{clone.api}/v1/sms/send", body)[1]["id"]
    url = f"{clone.api}/v1/sms/"
    wait_for(lambda: call("GET", url + sent)[1]["status"] == "delivered", "its delivery")

    day = dt.datetime.now(tz=dt.UTC).date() - dt.timedelta(days=120)
    moment = midnight(day) + dt.timedelta(hours=12)
    old = ids.lowest_id(moment)
    messages, log = (partitions.name_of(table, day) for table in ("sms_message", "sms_statusentry"))
    with psycopg.connect(clone.services["DATABASE_URL"], autocommit=True) as database:
        _as_if_sent(database, day, sent=ids.from_text(sent), old=old)
    assert call("GET", url + ids.to_text(old))[0] == 200
    manage(clone, f"partitions archive {messages} {log}", **archive)
    status, told = call("GET", url + ids.to_text(old))
    assert (status, told["code"]) == (410, "message_archived")
    assert f"{day:%Y-%m-%d}" in json.dumps(told), "the page says that the answer tells the day"

    told = clone.follow("howto/restore-a-partition.md", PARTITION=messages, **archive)
    assert f"{messages} archived" in told
    status, found = call("GET", url + ids.to_text(old))
    assert (status, found["status"], found["text"]) == (200, "delivered", "Hello")


def _as_if_sent(database: Any, day: dt.date, *, sent: Any, old: Any) -> None:
    """Beside the message `sent` one like it, with its log, that was sent that day."""
    next_day = ids.lowest_id(midnight(day + dt.timedelta(days=1)))
    for table, key in (("sms_message", "id"), ("sms_statusentry", "message_id")):
        name = partitions.name_of(table, day)
        bounds = f"FROM ('{ids.lowest_id(midnight(day))}') TO ('{next_day}')"
        database.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES {bounds}")
        database.execute(
            f"INSERT INTO {table} SELECT (jsonb_populate_record(one, jsonb_build_object('{key}', %s::text))).*"
            f" FROM {table} AS one WHERE {key} = %s",
            [old, sent],
        )
