"""A database restored to an earlier time is noticed, and brought to what Kafka knows."""

from __future__ import annotations

import datetime as dt
import io
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.balance.models import Account, LedgerEntry
from apps.balance.rebook import MISSING_CREDIT
from apps.balance.selectors import accounts_off
from apps.balance.services import account_adjust, account_top_up_once, prepaid_customer_create
from apps.customers.models import Customer
from apps.sms import statuses
from apps.sms.models import Message, OutboxEntry, StatusEntry
from apps.sms.recovery.recover import AnotherRuns, Report, recover
from apps.sms.recovery.restored import DatabaseRestored, refused_if_restored, restored_check
from apps.sms.settlement.cancel import message_cancel
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.own_topics import own_topics
from tests.support.recovery import SteppedGateway, advisory_locks_released, make_due, state, waiting
from tests.support.time_travel import Snapshot

pytestmark = pytest.mark.django_db(transaction=True)
TOMORROW = dt.timedelta(days=1)


@pytest.fixture
def stepped() -> SteppedGateway:
    return SteppedGateway(own_topics())


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> UUID:
    return make_customer(balance=100_000)


def run(stepped: SteppedGateway) -> Report:
    report = recover(config=stepped.config)
    restored_check(stepped.config.kafka)
    assert accounts_off() == []
    assert advisory_locks_released()
    return report


def test_everything_after_the_restore_comes_back_and_nothing_is_sent_twice(
    stepped: SteppedGateway, customer_id: UUID
) -> None:
    scheduled = stepped.accept(customer_id, 4, send_in=TOMORROW)
    stepped.accept(customer_id, 5)
    stepped.relay()
    stepped.submit()
    stepped.settle()
    not_relayed = stepped.accept(customer_id, 3)
    before = Snapshot()

    form_id = ids.new_id()
    for number in range(5):
        account_top_up_once(customer_id=customer_id, amount=7, reference=f"payment {number}", form_id=None)
    account_adjust(customer_id=customer_id, amount=-11, reason="correction", form_id=form_id)
    new = prepaid_customer_create(name="New", segments_per_second=7, currency="IRR").id
    account_top_up_once(customer_id=new, amount=5000, reference="first")
    stepped.relay()  # the three messages, too
    make_due(scheduled[:2])
    accepted = [*stepped.accept(customer_id, 6), *stepped.accept(new, 6, cost=300)]
    stepped.relay()
    sent = stepped.submit()
    assert {*scheduled[:2], *not_relayed, *accepted} == set(sent)
    message_cancel(message=Message.objects.get(id=scheduled[2]))
    failing = stepped.accept(new, 2, cost=300)
    stepped.relay()
    assert stepped.submit(status=statuses.FAILED) == failing
    stepped.settle()  # refunds the two
    stepped.relay()
    stepped.settle()
    truth = state()

    before.restore()
    with pytest.raises(DatabaseRestored):
        restored_check(stepped.config.kafka)
    assert set(scheduled) <= waiting()
    report = run(stepped)
    assert report.knows_all, report
    assert state() == truth
    assert waiting() == {scheduled[3]}, "only what nobody has sent"
    assert Customer.objects.get(id=new).name == "New"

    numbered = LedgerEntry.objects.filter(customer_id=customer_id).order_by("entry").values_list("entry", flat=True)
    assert list(numbered) == list(range(1, len(numbered) + 1))
    stepped.relay()
    assert stepped.submit() == []
    assert account_top_up_once(customer_id=customer_id, amount=7, reference="payment 3").is_new is False
    assert account_adjust(customer_id=customer_id, amount=-11, reason="correction", form_id=form_id).is_new is False


def test_a_second_run_changes_nothing(stepped: SteppedGateway, customer_id: UUID) -> None:
    before = Snapshot()
    account_top_up_once(customer_id=customer_id, amount=500, reference="payment")
    stepped.accept(customer_id, 3)
    stepped.accept(customer_id, 1, send_in=TOMORROW)
    stepped.relay()
    stepped.submit(status=statuses.REJECTED)
    stepped.settle()
    before.restore()
    run(stepped)
    first = state()
    outbox = OutboxEntry.objects.count()
    for since in (None, dt.datetime.now(tz=dt.UTC) - TOMORROW):
        report = recover(config=stepped.config, since=since)
        assert not any(report.counts.values()), report
        assert state() == first
        assert OutboxEntry.objects.count() == outbox


def test_a_message_whose_text_is_lost_is_refunded_and_reported(stepped: SteppedGateway, customer_id: UUID) -> None:
    stepped.relay()
    before = Snapshot()
    [lost] = stepped.accept(customer_id, 1, cost=400, send_in=TOMORROW)
    stepped.relay()
    before.restore()
    report = run(stepped)
    assert not report.knows_all
    assert report.textless == [lost]
    assert Account.objects.get(customer_id=customer_id).balance == 100_000
    entry = StatusEntry.objects.get(message_id=lost)
    assert (entry.status, entry.error, entry.refund) == (statuses.FAILED, "text_lost", 400)
    assert {row.kind for row in LedgerEntry.objects.filter(message_id=lost)} == {"charge", "refund"}
    assert waiting() == set()


def test_charges_that_only_a_refund_paid_for_are_booked_after_it(
    stepped: SteppedGateway, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=100)
    stepped.relay()
    before = Snapshot()
    for _ in range(3):  # the same hundred, spent three times
        stepped.accept(customer_id, 1, cost=100)
        stepped.relay()
        stepped.submit(status=statuses.FAILED)
        stepped.settle()
        stepped.relay()
    truth = state()
    before.restore()
    report = run(stepped)
    assert report.knows_all, report
    assert state() == truth


def test_credit_that_kafka_does_not_know_is_added_and_reported(
    stepped: SteppedGateway, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=100)
    stepped.relay()
    before = Snapshot()
    account_top_up_once(customer_id=customer_id, amount=1000, reference="by an earlier version")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM balance_moneyoutboxentry")
    stepped.accept(customer_id, 5, cost=200)
    stepped.relay()
    before.restore()
    report = run(stepped)
    assert report.added == {customer_id: 900}
    assert not report.knows_all
    assert Account.objects.get(customer_id=customer_id).balance == 0
    assert LedgerEntry.objects.get(reference=MISSING_CREDIT).amount == 900


def test_a_customer_of_whom_only_the_id_is_known_is_suspended(stepped: SteppedGateway, customer_id: UUID) -> None:
    stepped.relay()
    before = Snapshot()
    new = prepaid_customer_create(name="New", segments_per_second=7, currency="IRR").id
    account_top_up_once(customer_id=new, amount=1000, reference="first")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM balance_moneyoutboxentry")
    [sent] = stepped.accept(new, 1)
    stepped.relay()
    before.restore()
    report = run(stepped)
    assert report.customers_unknown == {new}
    stored = Customer.objects.get(id=new)
    assert (stored.status, stored.segments_per_second) == ("suspended", 7)
    assert Message.objects.get(id=sent).customer_id == new


@pytest.mark.parametrize("what", ["message", "scheduled", "top-up", "status"])
def test_a_restored_database_is_noticed_by_each_kind_of_event(
    stepped: SteppedGateway, customer_id: UUID, what: str
) -> None:
    [scheduled] = stepped.accept(customer_id, 1, send_in=TOMORROW)
    stepped.accept(customer_id, 2)
    stepped.relay()
    stepped.submit()
    before = Snapshot()
    restored_check(stepped.config.kafka)
    match what:
        case "message":
            stepped.accept(customer_id, 1)
        case "scheduled":
            make_due([scheduled])
        case "top-up":
            account_top_up_once(customer_id=customer_id, amount=1, reference="payment")
        case "status":
            stepped.settle()
    stepped.relay()
    restored_check(stepped.config.kafka)
    before.restore()
    with (
        pytest.raises(CommandError, match=r"Run manage\.py recover"),
        refused_if_restored(stepped.config.kafka) as check,
    ):
        check()
    run(stepped)


def test_an_interrupted_round_of_the_relay_is_no_restore(stepped: SteppedGateway, customer_id: UUID) -> None:
    """Kafka has the events, and PostgreSQL has the outbox rows still: the relay died in between."""
    stepped.accept(customer_id, 3)
    rows = Snapshot()
    stepped.relay()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE sms_outboxentry")
    rows.restore()
    OutboxEntry.objects.exclude(payload=None).delete()
    restored_check(stepped.config.kafka)


def test_an_earlier_version_beside_this_one_is_no_restore(stepped: SteppedGateway, customer_id: UUID) -> None:
    """It relays and settles, and records no positions."""
    stepped.accept(customer_id, 3)
    stepped.relay()
    stepped.submit()
    stepped.settle()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE kafka_position")
    restored_check(stepped.config.kafka)


def test_topics_that_were_created_again_are_no_restore(stepped: SteppedGateway, customer_id: UUID) -> None:
    stepped.accept(customer_id, 3)
    stepped.relay()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE kafka_position SET position = position + 100000")
    restored_check(stepped.config.kafka)
    report = recover(config=stepped.config)
    assert report.recreated
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(position) FROM kafka_position")
        assert cursor.fetchone()[0] < 100_000


def test_nothing_is_sent_while_a_recovery_has_not_ended(
    stepped: SteppedGateway, customer_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped.relay()
    before = Snapshot()
    account_top_up_once(customer_id=customer_id, amount=500, reference="payment")
    accepted = stepped.accept(customer_id, 3)
    stepped.relay()
    truth = state()
    before.restore()

    def dies(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("apps.sms.recovery.recover.ended_take_out", dies)
        with pytest.raises(KeyboardInterrupt):
            recover(config=stepped.config)
    assert set(accepted) == set(Message.objects.values_list("id", flat=True)), "the messages are known by now"
    with pytest.raises(DatabaseRestored):
        restored_check(stepped.config.kafka)
    run(stepped)
    assert state() == truth


def test_two_recoveries_do_not_run_at_once(stepped: SteppedGateway) -> None:
    import psycopg

    from apps.sms.recovery import recover as module
    from tests.support.database import database_url

    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [module._LOCK])
        with pytest.raises(AnotherRuns):
            recover(config=stepped.config)


def test_the_command_prints_what_it_did_and_what_it_does_not_know(
    stepped: SteppedGateway, customer_id: UUID, settings: object, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.CONFIG = stepped.config  # type: ignore[attr-defined]
    out = io.StringIO()
    call_command("recover", stdout=out)
    stepped.relay()
    before = Snapshot()
    account_top_up_once(customer_id=customer_id, amount=500, reference="payment")
    [lost] = stepped.accept(customer_id, 1, send_in=TOMORROW)
    stepped.relay()
    before.restore()
    with pytest.raises(SystemExit) as ended:
        call_command("recover", stdout=out)
    assert ended.value.code == 3
    text = out.getvalue()
    assert "1 top ups booked again" in text
    assert f"message without text, failed and refunded: {ids.to_text(lost)}" in text
    call_command("recover", stdout=out)
    assert out.getvalue().endswith("Nothing was missing.\nEverything that Kafka knows is in PostgreSQL.\n")
