"""Messages without a receipt become unknown; receipts without a submit are dropped."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.db import connection, connections, transaction

from apps.sms import events
from apps.sms.models import OutboxEntry, ReceiptSweep, StatusEntry, SubmittedPart, WaitingReceipt
from apps.sms.receipts import missing as unanswered
from apps.sms.receipts.missing import messages_give_up, receipts_drop
from smsgateway import partitions
from tests.support.customers import MakeCustomer
from tests.support.receipts import accept, balance, receive, said, settle_outbox, status_of, submit, ulid_before

WAIT = dt.timedelta(hours=72)


@pytest.fixture(autouse=True)
def _days_back(db: None) -> None:
    """Partitions of the last days, and nothing swept yet."""
    today = dt.datetime.now(tz=dt.UTC).date()
    partitions.create(first=today - dt.timedelta(days=5), days=6, tables=["sms_submittedpart"])
    ReceiptSweep.objects.update(position=UUID(int=0))


def submitted(customer_id: UUID, count: int, *, hours_ago: float) -> list[UUID]:
    message_ids = accept(customer_id, count)
    for number, message_id in enumerate(message_ids):
        submit(message_id, f"{hours_ago}-{number}")
        SubmittedPart.objects.filter(message_id=message_id).update(submission_id=ulid_before(hours=hours_ago))
    return message_ids


def test_a_message_without_a_receipt_becomes_unknown_once(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    [silent] = submitted(customer_id, 1, hours_ago=73)
    [young] = submitted(customer_id, 1, hours_ago=71)
    assert messages_give_up(wait=WAIT) == 1
    [told] = OutboxEntry.objects.filter(payload__isnull=False)
    event = events.decode_status(bytes(told.payload or b""))
    assert isinstance(event, events.StatusChanged)
    assert (event.status, event.operator, event.operator_message_id) == ("unknown", "mci", "73-0")
    assert (event.cost, event.segments, told.customer_id) == (100, 1, customer_id)
    settle_outbox()
    assert (status_of(silent), status_of(young)) == ("unknown", "submitted")
    assert balance(customer_id) == 800  # nothing is given back
    assert messages_give_up(wait=WAIT) == 0
    assert not OutboxEntry.objects.filter(payload__isnull=False).exists()


@pytest.mark.parametrize(("late", "left"), [("delivered", 900), ("undelivered", 1000)])
def test_a_later_receipt_still_counts(make_customer: MakeCustomer, late: str, left: int) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = submitted(customer_id, 1, hours_ago=73)
    messages_give_up(wait=WAIT)
    settle_outbox()
    receive(said("73-0", late))
    assert (status_of(message_id), balance(customer_id)) == (late, left)


def test_a_message_with_a_final_status_stays_what_it_is(make_customer: MakeCustomer) -> None:
    message_ids = submitted(make_customer(), 3, hours_ago=80)
    receive(said("80-0"), said("80-1", "expired"), said("80-2", "rejected"))
    settle_outbox()  # the refunds' events
    assert messages_give_up(wait=WAIT) == 3
    assert settle_outbox() == 0
    assert [status_of(message_id) for message_id in message_ids] == ["delivered", "expired", "rejected"]


def test_a_long_message_with_a_part_missing_becomes_unknown(make_customer: MakeCustomer) -> None:
    [message_id] = accept(make_customer())
    submit(message_id, "1", "2")
    receive(said("1"))
    SubmittedPart.objects.update(submission_id=ulid_before(hours=73))
    assert messages_give_up(wait=WAIT) == 1
    settle_outbox()
    assert status_of(message_id) == "unknown"


def test_a_pass_is_bounded_and_the_next_goes_on(make_customer: MakeCustomer) -> None:
    message_ids = submitted(make_customer(), 7, hours_ago=90)
    assert [messages_give_up(wait=WAIT, limit=3) for _ in range(4)] == [3, 3, 1, 0]
    settle_outbox()
    assert {status_of(message_id) for message_id in message_ids} == {"unknown"}
    assert StatusEntry.objects.filter(status="unknown").count() == 7


def test_a_pass_reads_the_key_of_the_days_in_question_only(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # an empty table needs no index
        parameters = {"after": ulid_before(hours=75), "before": ulid_before(hours=72), "limit": 10}
        cursor.execute("EXPLAIN " + unanswered.NEXT, parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    today = dt.datetime.now(tz=dt.UTC).date()
    for number in range(-1, 3):
        assert partitions.name_of("sms_submittedpart", today - dt.timedelta(days=number)) not in plan
    assert "Index Scan using sms_submittedpart_" in plan
    assert "Sort" not in plan


@pytest.mark.django_db(transaction=True)
def test_of_two_passes_at_once_one_tells(make_customer: MakeCustomer) -> None:
    submitted(make_customer(), 5, hours_ago=73)

    def other() -> int:
        try:
            return messages_give_up(wait=WAIT)
        finally:
            connections.close_all()

    with transaction.atomic():
        assert messages_give_up(wait=WAIT) == 5
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(other).result() == 0  # and it does not wait
    assert messages_give_up(wait=WAIT) == 0
    assert OutboxEntry.objects.filter(payload__isnull=False).count() == 5


def test_a_pass_that_fails_is_made_again(make_customer: MakeCustomer) -> None:
    [message_id] = submitted(make_customer(), 1, hours_ago=73)

    class Away(Exception):
        pass

    def fail() -> None:
        with transaction.atomic():
            messages_give_up(wait=WAIT)
            raise Away

    with pytest.raises(Away):
        fail()
    assert messages_give_up(wait=WAIT) == 1
    settle_outbox()
    assert status_of(message_id) == "unknown"


def test_receipts_whose_submit_never_comes_are_dropped(make_customer: MakeCustomer) -> None:
    receive(*(said(f"{number}") for number in range(5)))
    for number in range(2):
        WaitingReceipt.objects.filter(operator_message_id=f"{number}").update(id=ulid_before(hours=73))
    assert [receipts_drop(wait=WAIT, limit=1) for _ in range(3)] == [1, 1, 0]
    assert WaitingReceipt.objects.count() == 3


def test_settling_again_after_it_was_unknown_changes_nothing(make_customer: MakeCustomer) -> None:
    [message_id] = submitted(make_customer(), 1, hours_ago=73)
    messages_give_up(wait=WAIT)
    settle_outbox()
    submit(message_id, "73-0")
    receive()
    assert status_of(message_id) == "unknown"
