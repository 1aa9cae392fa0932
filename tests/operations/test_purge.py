"""`manage.py purge` gets on when one statement could not delete everything, and when a kind of rows fails."""

from __future__ import annotations

import dataclasses
import datetime as dt
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from apps.balance.models import BookedForm
from apps.console.models import Act
from apps.customers.models import CallbackSecret
from apps.sms.models import Callback, IdempotencyRecord
from smsgateway import ids
from smsgateway.postgres.batch_delete import rows_delete
from tests.support.customers import MakeCustomer

LONG_AGO = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=400)


@pytest.fixture
def old_rows(make_customer: MakeCustomer) -> None:
    """Rows of every kind that had their time."""
    customer_id = make_customer()
    records = IdempotencyRecord.objects.bulk_create(
        IdempotencyRecord(customer_id=customer_id, key=str(number), fingerprint=b"x", body="{}", balance=0)
        for number in range(2000)
    )
    IdempotencyRecord.objects.update(created_at=LONG_AGO)
    assert len(records) == 2000
    Callback.objects.bulk_create(
        Callback(id=ids.lowest_id(LONG_AGO + dt.timedelta(seconds=number)), customer_id=customer_id, event="test",
                 at=LONG_AGO, status="delivered") for number in range(3)
    )  # fmt: skip
    CallbackSecret.objects.create(customer_id=customer_id, secret="whsec_b2xk", expires_at=LONG_AGO)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_session VALUES ('gone', '', %s)", [LONG_AGO])
        cursor.execute("INSERT INTO django_session VALUES ('here', '', now() + interval '1 hour')")


def trigger(table: str, body: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION a_slow_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN OLD; END $$"
        )
        cursor.execute(f"CREATE TRIGGER slow BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION a_slow_disk()")


def left() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_session")
        return {
            "records": IdempotencyRecord.objects.count(),
            "callbacks": Callback.objects.count(),
            "secrets": CallbackSecret.objects.count(),
            "logins": cursor.fetchone()[0],
        }


@pytest.mark.django_db
def test_more_rows_than_one_statement_can_delete_are_deleted(old_rows: None) -> None:
    trigger("sms_idempotencyrecord", "PERFORM pg_sleep(0.001);")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '1s'")
    out = StringIO()
    call_command("purge", stdout=out)
    assert "2000 idempotency records deleted." in out.getvalue()
    assert left() == {"records": 0, "callbacks": 0, "secrets": 0, "logins": 1}


@pytest.mark.django_db
def test_a_kind_that_fails_does_not_stop_the_others_and_fails_the_run(
    old_rows: None, settings: Any, tmp_path: Path
) -> None:
    general = dataclasses.replace(settings.CONFIG.general, metrics_textfile_dir=str(tmp_path))
    settings.CONFIG = dataclasses.replace(settings.CONFIG, general=general)
    trigger("sms_idempotencyrecord", "RAISE EXCEPTION 'a broken index';")
    out = StringIO()
    with pytest.raises(CommandError, match="idempotency records: a broken index") as error:
        call_command("purge", stdout=out)
    assert error.value.returncode == 1
    assert "3 callbacks deleted." in out.getvalue()
    assert left() == {"records": 2000, "callbacks": 0, "secrets": 0, "logins": 1}
    exposed = (tmp_path / "smsgateway_purge.prom").read_text()
    assert 'job_last_run_succeeded{job="purge"} 0.0' in exposed
    assert 'purged_rows{kind="callbacks"} 3.0' in exposed
    assert not (tmp_path / "smsgateway_purge_success.prom").exists()


@pytest.mark.django_db(transaction=True)
def test_what_was_deleted_before_a_failure_stays_deleted(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    for number in range(30):
        CallbackSecret.objects.create(customer_id=customer_id, secret=str(number), expires_at=LONG_AGO)
    last = CallbackSecret.objects.order_by("id").last()
    assert last is not None
    trigger("customers_callbacksecret", f"IF OLD.id = {last.id} THEN RAISE EXCEPTION 'broken'; END IF;")
    try:
        statement = (
            "DELETE FROM customers_callbacksecret WHERE id = ANY (ARRAY("
            "SELECT id FROM customers_callbacksecret ORDER BY id LIMIT %(limit)s))"
        )
        with pytest.raises(DatabaseError, match="broken"):
            rows_delete(statement, {}, batch=10)
        assert CallbackSecret.objects.count() == 10
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION a_slow_disk CASCADE")


@pytest.mark.django_db
def test_the_audit_log_is_purged_by_setting_alone_and_never_what_is_young(settings: Any) -> None:
    for days in (1, 89, 91, 400):
        made = ids.lowest_id(dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=days))
        Act.objects.create(id=made, user_id=1, user_name=f"{days} days", act="balance.topup", subject="x")
    call_command("purge", stdout=StringIO())
    assert Act.objects.count() == 4, "0, the default: permanently"
    for kept, expected in ((365, {"1 days", "89 days", "91 days"}), (1, {"1 days", "89 days"})):
        settings.CONFIG = dataclasses.replace(
            settings.CONFIG, admin=dataclasses.replace(settings.CONFIG.admin, audit_kept_days=kept)
        )
        call_command("purge", stdout=StringIO())
        assert set(Act.objects.values_list("user_name", flat=True)) == expected


@pytest.mark.django_db
def test_a_young_act_is_kept() -> None:
    Act.objects.create(user_id=1, user_name="now", act="balance.topup", subject="x")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL smsgateway.audit_purge = 'on'")
        with pytest.raises(DatabaseError, match="kept as it was"):
            cursor.execute("DELETE FROM console_act")


@pytest.mark.django_db
def test_forms_and_the_admin_log_do_not_grow_without_end(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    user = User.objects.create(username="somebody")
    for days in (1, 500):
        when = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=days)
        BookedForm.objects.create(id=ids.lowest_id(when), customer_id=customer_id, entry_id=ids.new_id())
        LogEntry.objects.create(user=user, action_flag=1, object_repr=f"{days} days", action_time=when)
    call_command("purge", stdout=StringIO())
    assert BookedForm.objects.count() == 1
    assert LogEntry.objects.get().object_repr == "1 days"
