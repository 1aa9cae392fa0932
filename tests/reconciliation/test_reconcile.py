"""Reconciliation finds differences between PostgreSQL, ClickHouse and the ledger, and repairs them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection

from apps.reconciliation import service
from apps.reconciliation.compare import Kind
from apps.reconciliation.service import AnotherRuns, Report, reconcile
from apps.reporting.ingest import snapshots
from apps.sms import events
from apps.sms.messages.work_orders import accepted_event
from apps.sms.models import Message, OutboxEntry, ScheduledEntry, StatusEntry
from apps.sms.outbox.relay import relay_round
from apps.sms.recovery import stuck
from apps.sms.settlement.service import statuses_settle
from apps.sms.suspension.held_messages import held_add, held_take
from smsgateway import clickhouse, ids, partitions
from smsgateway.clickhouse import ClickHouse
from tests.support.customers import MakeCustomer
from tests.support.events import refund, status, write

TODAY = dt.datetime.now(tz=dt.UTC).date()
Run = Callable[..., Report]


@pytest.fixture
def config(settings: Any) -> Any:
    """Nothing is too recent to judge, and everything without a status is stuck."""
    reconciling = dataclasses.replace(settings.CONFIG.reconcile, in_flight=0, stuck_after=0)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, reconcile=reconciling)
    return settings.CONFIG


@pytest.fixture
def customer(make_customer: MakeCustomer) -> UUID:
    return make_customer()


@pytest.fixture
def run(database: ClickHouse, config: Any, customer: UUID) -> Run:
    def run(**asked: Any) -> Report:
        pauses: list[float] = []
        asked = {"config": config, "first": TODAY, "last": TODAY, "customer_id": customer} | asked
        return reconcile(database=database, pause=pauses.append, **asked)

    return run


def send(post: Any, customer: UUID, count: int = 3, **more: Any) -> list[Message]:
    """Messages of this customer, accepted some minutes ago as far as their statuses go; their outbox rows are gone."""
    messages = [{"to": f"0912123456{number}", "text": "hi", **more} for number in range(count)]
    answer = post("/v1/sms/batch", {"customer_id": ids.to_text(customer), "messages": messages})
    assert answer.status_code == 200, answer.content
    OutboxEntry.objects.all().delete()
    return list(Message.objects.filter(customer_id=customer).order_by("id"))


def insert_accepted(database: ClickHouse, *messages: Message) -> None:
    write(database, *(accepted_event(message, currency="IRR") for message in messages))


def settle(message: Message, name: str) -> events.StatusChanged:
    event = status(message.customer_id, message.id, name, after=1)
    statuses_settle(batch=[event])
    OutboxEntry.objects.all().delete()
    return event


def outbox_events() -> list[Any]:
    decode = {True: events.decode_accepted, False: events.decode_status}
    return [
        decode[events.is_accepted(bytes(row.payload))](bytes(row.payload)) for row in OutboxEntry.objects.order_by("id")
    ]


@pytest.mark.django_db
def test_without_differences_nothing_is_found(run: Run, post: Any, customer: UUID, database: ClickHouse) -> None:
    messages = send(post, customer)
    insert_accepted(database, *messages)
    settled = [
        settle(message, name) for message, name in zip(messages, ("delivered", "failed", "submitted"), strict=True)
    ]
    write(database, *settled, refund(customer, messages[1].id, amount=messages[1].cost))
    report = run()
    assert report.agrees
    assert (report.days, report.stuck, report.accounts) == ([], [], [])


@pytest.mark.django_db
def test_what_clickhouse_lacks_is_found_and_published_again(
    run: Run, post: Any, customer: UUID, database: ClickHouse
) -> None:
    missing, behind, unrefunded = send(post, customer)
    insert_accepted(database, behind, unrefunded)
    for message, name in ((missing, "delivered"), (behind, "delivered"), (unrefunded, "failed")):
        event = settle(message, name)
        if message is unrefunded:
            write(database, event)
    report = run()
    (day,) = report.days
    assert day.messages == {
        missing.id: Kind.MISSING,
        behind.id: Kind.STATUS,
        unrefunded.id: Kind.REFUND,
    }
    assert (day.postgresql.messages, day.clickhouse.messages) == (3, 2)
    assert not OutboxEntry.objects.exists()  # without --repair nothing changes

    repaired = run(repair=True).repaired
    assert repaired["messages"] == 3
    published = outbox_events()
    write(database, *published)
    assert run().agrees


@pytest.mark.django_db
def test_events_published_again_send_no_message_and_settle_nothing(
    run: Run, post: Any, customer: UUID, database: ClickHouse, config: Any
) -> None:
    (message,) = send(post, customer, count=1)
    settle(message, "submitted")
    settle(message, "failed")
    before = list(StatusEntry.objects.values_list("message_id", "status", "refund"))
    run(repair=True)
    published = outbox_events()
    assert [type(event).__name__ for event in published] == [
        "MessageAccepted",
        "StatusChanged",
        "StatusChanged",
        "Refunded",
    ]
    producer = Published()
    relay_round(producer=producer, config=config)  # type: ignore[arg-type]
    assert [topic for topic, _ in producer.records] == ["sms.accepted", *["sms.status"] * 3]
    settled = statuses_settle(batch=[event for event in published if isinstance(event, events.StatusChanged)])
    assert (settled.recorded, settled.repeated, settled.refunded) == (0, 2, 0)
    assert list(StatusEntry.objects.values_list("message_id", "status", "refund")) == before


class Published:
    """A producer that confirms everything and keeps it."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []
        self._reports: list[Any] = []

    def produce(self, topic: str, value: bytes, _key: bytes, _partition: int, report: Any, **_more: Any) -> None:
        self.records.append((topic, value))
        self._reports.append(report)

    def poll(self, _seconds: float) -> None:
        while self._reports:
            self._reports.pop()(None, None)


@pytest.mark.django_db
def test_statistics_that_differ_from_their_messages_are_computed_again(
    run: Run, post: Any, customer: UUID, database: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = send(post, customer)
    for message in messages:
        settle(message, "delivered")
    with monkeypatch.context() as patch:  # the bridge died between its insert and the statistics
        patch.setattr(snapshots, "compute_minutes", lambda *_, **__: None)
        patch.setattr(snapshots, "compute_days", lambda *_, **__: None)
        insert_accepted(database, *messages)
        write(database, *(status(customer, message.id, "delivered", after=1) for message in messages))
    (day,) = run().days
    assert (day.messages, len(day.stale) > 0) == ({}, True)
    assert run(repair=True).repaired["minutes"] > 0
    assert run().agrees


@pytest.mark.django_db
def test_messages_in_flight_are_not_differences(run: Run, post: Any, customer: UUID, config: Any) -> None:
    young = dataclasses.replace(config, reconcile=dataclasses.replace(config.reconcile, in_flight=3600))
    send(post, customer)
    assert run(config=young).days == []
    assert len(run().days) == 1


@pytest.mark.django_db
def test_a_status_that_only_clickhouse_knows_is_reported_and_not_repaired(
    run: Run, post: Any, customer: UUID, database: ClickHouse
) -> None:
    (message,) = send(post, customer, count=1)
    insert_accepted(database, message)
    settle(message, "submitted")
    write(database, status(customer, message.id, "delivered", after=1))
    report = run(repair=True)
    assert report.kinds == {Kind.AHEAD: 1}
    assert not OutboxEntry.objects.exists()


@pytest.mark.django_db
def test_a_stuck_message_is_put_back_only_when_it_cannot_be_in_flight(
    run: Run, post: Any, customer: UUID, database: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired, with_time = send(post, customer, count=2)
    insert_accepted(database, expired, with_time)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sms_message SET expires_at = now() - interval '1 hour' WHERE id = %s", [expired.id])
    waiting = 1
    monkeypatch.setattr(service, "messages_waiting", lambda _config: waiting)

    report = run(repair=True)
    assert [one.message_id for one in report.stuck] == [expired.id, with_time.id]
    assert list(OutboxEntry.objects.values_list("message_id", "payload", "due")) == [(expired.id, None, False)]

    waiting = 0
    assert run(repair=True).repaired["put_back"] == 1
    assert {row.message_id for row in OutboxEntry.objects.all()} == {expired.id, with_time.id}
    assert run(repair=True).stuck == []  # they stand in the outbox
    OutboxEntry.objects.all().delete()

    waiting = 1
    settle(with_time, "submitted")
    report = run(repair=True, even_if_waiting=True)
    assert [one.message_id for one in report.stuck] == [expired.id]


@pytest.mark.django_db
def test_a_scheduled_message_is_stuck_only_once_it_is_overdue(
    run: Run, post: Any, customer: UUID, database: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)).isoformat()
    (message,) = send(post, customer, count=1, send_at=later)
    insert_accepted(database, message)
    assert run().stuck == []
    ScheduledEntry.objects.all().delete()
    assert run().stuck == []  # its hour has not come: somebody is at it
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sms_message SET send_at = now() - interval '1 hour' WHERE id = %s", [message.id])
    monkeypatch.setattr(service, "messages_waiting", lambda _config: 0)
    run(first=TODAY - dt.timedelta(days=1), repair=True)  # an hour ago may be yesterday
    assert list(OutboxEntry.objects.values_list("message_id", "due")) == [(message.id, True)]


def accepted_long_ago(message: Message, days: int) -> Message:
    """The same message as if it had been accepted so many days before."""
    moment = ids.moment(message.id) - dt.timedelta(days=days)
    partitions.create(first=moment.date(), days=1)
    before = message.id
    message.id = UUID(int=before.int - (days * 86_400_000 << 80))  # an id begins with its milliseconds
    message.save(force_insert=True)
    Message.objects.filter(id=before).delete()
    return message


@pytest.mark.django_db
@pytest.mark.parametrize("days", [4, 29])
def test_a_stuck_scheduled_message_is_found_by_when_it_is_due(
    run: Run, post: Any, customer: UUID, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    later = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)).isoformat()
    lost, waits, ended, not_due = send(post, customer, count=4, send_at=later)
    ScheduledEntry.objects.exclude(message_id=waits.id).delete()
    hour_ago = dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1)
    for message in (lost, waits, ended):
        message.send_at = hour_ago
        old_id = message.id
        accepted_long_ago(message, days)
        ScheduledEntry.objects.filter(message_id=old_id).update(message_id=message.id)
    accepted_long_ago(not_due, days)
    settle(ended, "submitted")
    monkeypatch.setattr(service, "messages_waiting", lambda _config: 0)
    report = run(first=TODAY - dt.timedelta(days=2), repair=True)
    assert [one.message_id for one in report.stuck] == [lost.id]
    assert list(OutboxEntry.objects.values_list("message_id", "due")) == [(lost.id, True)]
    assert run(first=TODAY - dt.timedelta(days=2)).stuck == []


@pytest.mark.django_db
def test_stuck_scheduled_messages_are_found_by_an_index(post: Any, customer: UUID) -> None:
    """Not by reading the days of their acceptance, nor all of the status log."""
    for _ in range(50):
        send(post, customer, count=10)  # in an almost empty table every index would do
    bounds = stuck._bounds(dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=3), dt.timedelta(0)) | {"limit": 10}
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE sms_message")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {stuck.FIND}", bounds)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "_send_at on sms_message" in plan
    assert "SubPlan" in plan


@pytest.mark.django_db
def test_a_message_that_is_held_is_not_stuck(run: Run, post: Any, customer: UUID) -> None:
    held, lost = send(post, customer, count=2)
    held_add(messages=[(held, "")])
    assert [one.message_id for one in run().stuck] == [lost.id]
    assert held_take(message_id=held.id)
    assert {one.message_id for one in run().stuck} == {held.id, lost.id}


@pytest.mark.django_db
def test_an_account_that_is_not_its_ledger_is_found(run: Run, customer: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE balance_account SET balance = balance + 1 WHERE customer_id = %s", [customer])
    (account,) = run().accounts
    assert account.balance == account.ledger_balance + 1


@pytest.mark.django_db
def test_days_without_their_partition_are_not_compared(run: Run) -> None:
    day = dt.date(2001, 1, 1)
    assert run(first=day, last=day).not_compared == [day]


@pytest.mark.django_db
def test_the_command_prints_a_report_exits_with_3_and_writes_metrics(
    post: Any,
    customer: UUID,
    config: Any,
    settings: Any,
    database: ClickHouse,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "RECHECK_SECONDS", 0.0)
    general = dataclasses.replace(config.general, metrics_textfile_dir=str(tmp_path))
    settings.CONFIG = dataclasses.replace(config, general=general)
    (message,) = send(post, customer, count=1)

    def call(*arguments: str) -> tuple[int, str]:
        out = StringIO()
        try:
            call_command("reconcile", "--customer", ids.to_text(customer), *arguments, stdout=out)
        except SystemExit as ended:
            return int(str(ended.code)), out.getvalue()
        return 0, out.getvalue()

    code, table = call()
    assert code == 3
    assert "missing: 1 messages" in table
    assert ids.to_text(customer) in table
    assert 'reconcile_differences{kind="missing"} 1.0' in (tmp_path / "smsgateway_reconcile.prom").read_text()

    code, text = call("--json")
    found = json.loads(text)
    assert (code, found["agrees"]) == (3, False)
    assert found["days"][0]["messages"] == {ids.to_text(message.id): "missing"}

    settle(message, "delivered")
    insert_accepted(database, message)
    write(database, status(customer, message.id, "delivered", after=1))
    assert call()[0] == 0
    assert (tmp_path / "smsgateway_reconcile_success.prom").exists()


@pytest.mark.django_db
def test_clickhouse_down_is_an_error_and_not_a_difference(
    away: ClickHouse, post: Any, customer: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.management import CommandError

    monkeypatch.setattr(clickhouse, "default", lambda: away)
    with pytest.raises(CommandError, match="ClickHouse"):
        call_command("reconcile", stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_only_one_run_at_a_time(run: Run) -> None:
    import threading

    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        with service._single_run():
            taken.set()
            free.wait()
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    try:
        with pytest.raises(AnotherRuns):
            run()
    finally:
        free.set()
        holder.join()
    assert run().accounts == []
