"""Receipts find their message by the operator's own id, in any order of arrival."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from functools import partial
from uuid import UUID

import pytest
from django.db import DataError, connection

from apps.sms.models import OutboxEntry, StatusEntry, SubmittedPart, WaitingReceipt
from apps.sms.receipts import parts as receipt_parts
from apps.sms.receipts.matching import Received, receipt_record
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids, partitions
from smsgateway.metrics import SETTLE_DELIVERED_REFUNDED
from tests.support import together
from tests.support.customers import MakeCustomer
from tests.support.receipts import accept, balance, changed, receive, said, status_of, submit, ulid_before


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> UUID:
    return make_customer(balance=1000)


def age(message_id: UUID, **ago: float) -> None:
    """Make the message's submit look as if it had been recorded some time ago."""
    day = dt.datetime.now(tz=dt.UTC).date() - dt.timedelta(**ago)
    partitions.create(first=day - dt.timedelta(days=1), days=2, tables=["sms_submittedpart"])
    SubmittedPart.objects.filter(message_id=message_id).update(submission_id=ulid_before(**ago))


def test_a_receipt_with_the_operators_id_alone_finds_its_message(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "007")
    assert receive(said("007", error="000")) == ["matched"]
    entry = StatusEntry.objects.get(message_id=message_id, status="delivered")
    assert (entry.operator, entry.operator_message_id, entry.error) == ("mci", "007", "000")


@pytest.mark.parametrize("other", ["7", "07", "0007", "007 ", "AbC0", "abc"])
def test_ids_are_taken_exactly_as_given(customer_id: UUID, other: str) -> None:
    first, second = accept(customer_id, 2)
    submit(first, "007")
    submit(second, "abC")
    assert receive(said(other)) == ["waiting"]
    assert (status_of(first), status_of(second)) == ("submitted", "submitted")


def test_the_same_id_of_two_operators_is_two_messages(customer_id: UUID) -> None:
    first, second = accept(customer_id, 2)
    submit(first, "5")
    submit(second, "5", operator="irancell")
    receive(said("5", "undelivered", operator="irancell"))
    assert (status_of(first), status_of(second)) == ("submitted", "undelivered")
    receive(said("5"))
    assert (status_of(first), status_of(second)) == ("delivered", "undelivered")


def test_an_id_used_again_means_the_newest_message(customer_id: UUID) -> None:
    older, newer = accept(customer_id, 2)
    submit(older, "5")
    age(older, days=3)
    submit(newer, "5")
    receive(said("5"))
    assert (status_of(older), status_of(newer)) == ("submitted", "delivered")


def test_a_receipt_is_not_of_a_message_submitted_longer_ago_than_an_id_is_looked_for(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "5")
    age(message_id, days=6)
    assert receive(said("5")) == ["matched"]
    age(message_id, days=8)
    assert receive(said("5")) == ["waiting"]


def test_a_receipt_before_its_submit_is_recorded_waits_for_it(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    assert receive(said("5", "undelivered"), said("6")) == ["waiting", "waiting"]
    assert status_of(message_id) == "accepted"
    submit(message_id, "5")
    assert receive() == []
    assert (status_of(message_id), balance(customer_id)) == ("undelivered", 1000)
    assert [row.operator_message_id for row in WaitingReceipt.objects.all()] == ["6"]


def test_a_repeated_submit_event_still_matches_what_waits(customer_id: UUID) -> None:
    """Whoever recorded the submit may have died before it looked for receipts."""
    [message_id] = accept(customer_id)
    submit(message_id, "5")
    SubmittedPart.objects.update(operator_message_id="hidden")
    assert receive(said("5")) == ["waiting"]
    SubmittedPart.objects.update(operator_message_id="5")
    submit(message_id, "5")
    receive()
    assert status_of(message_id) == "delivered"
    assert SubmittedPart.objects.count() == 1


def test_a_receipt_that_waits_from_an_older_use_of_the_id_is_not_the_new_messages(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    receive(said("5", "undelivered"))
    WaitingReceipt.objects.update(id=ulid_before(hours=30))
    submit(message_id, "5")
    receive()
    assert status_of(message_id) == "submitted"
    assert WaitingReceipt.objects.count() == 1


@pytest.mark.parametrize("status", ["delivered", "undelivered"])
def test_an_early_receipt_under_an_id_used_again_waits_for_the_new_message(customer_id: UUID, status: str) -> None:
    older, newer = accept(customer_id, 2)
    submit(older, "5")
    receive(said("5"))
    age(older, days=3)
    assert receive(said("5", status)) == ["waiting"]
    submit(newer, "5")
    receive()
    assert (status_of(older), status_of(newer)) == ("delivered", status)


def test_a_late_receipt_of_a_message_without_one_is_its_own(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "5")
    age(message_id, days=3)
    statuses_settle(batch=[changed(message_id, "unknown")])
    assert receive(said("5", "undelivered")) == ["matched"]
    assert (status_of(message_id), balance(customer_id)) == ("undelivered", 1000)


def test_a_message_submitted_once_more_is_found_by_either_id(customer_id: UUID) -> None:
    """A worker that is killed may have submitted it; the next one does so again, maybe to another operator."""
    first, second = accept(customer_id, 2)
    for message_id, given in ((first, "5"), (second, "6")):
        submit(message_id, given)
        submit(message_id, f"{given}-again", operator="irancell")
        submit(message_id, given)
    assert receive(said("5"), said("6-again", operator="irancell")) == ["matched", "matched"]
    assert (status_of(first), status_of(second)) == ("delivered", "delivered")
    # Each once, and the second submits by our reference too.
    assert SubmittedPart.objects.count() == 6


@pytest.mark.parametrize("order", list(itertools.permutations(["1", "2", "3"])))
def test_a_long_message_is_delivered_when_every_part_is(customer_id: UUID, order: tuple[str, ...]) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "1", "2", "3")
    for given in order[:2]:
        assert receive(said(given), said(given)) == ["part", "repeated"]
        assert status_of(message_id) == "submitted"
    assert receive(said(order[2])) == ["matched"]
    assert status_of(message_id) == "delivered"


@pytest.mark.parametrize("status", ["undelivered", "rejected", "expired"])
def test_a_long_message_fails_with_its_first_part_that_does(customer_id: UUID, status: str) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "1", "2")
    assert receive(said("1"), said("2", status, error="8")) == ["part", "matched"]
    assert (status_of(message_id), balance(customer_id)) == (status, 1000)
    receive(said("2"))
    assert (status_of(message_id), balance(customer_id)) == ("delivered", 1000)


def test_parts_of_a_long_message_wait_for_its_submit_too(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    receive(said("2"), said("1"))
    submit(message_id, "1", "2")
    receive()
    assert status_of(message_id) == "delivered"


def test_one_receipt_with_our_reference_decides_a_whole_long_message(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "1", "2")
    assert receive(said("1", reference=message_id)) == ["matched"]
    assert status_of(message_id) == "delivered"


def test_a_reference_of_no_message_is_told_and_the_others_count(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "1")
    assert receive(said("1", reference=ids.new_id()), said("1")) == ["unknown", "matched"]
    assert status_of(message_id) == "delivered"


def test_a_delivery_after_a_refund_stands_and_so_does_the_refund(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "1")
    receive(said("1", "undelivered"))
    before = SETTLE_DELIVERED_REFUNDED._value.get()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("apps.sms.settlement.service.transaction.on_commit", lambda count: count())
        receive(said("1"), said("1"), said("1", "undelivered"))
    assert (status_of(message_id), balance(customer_id)) == ("delivered", 1000)
    assert SETTLE_DELIVERED_REFUNDED._value.get() - before == 1


def test_looking_for_an_id_reads_an_index_of_the_last_days_only(customer_id: UUID) -> None:
    today = dt.datetime.now(tz=dt.UTC).date()
    partitions.create(first=today - dt.timedelta(days=20), days=21, tables=["sms_submittedpart"])
    for position, message_id in enumerate(accept(customer_id, 5)):
        submit(message_id, f"{position}")
    keys = [("mci", f"{position}") for position in range(5)]
    parameters = receipt_parts.find_parameters(keys, now=dt.datetime.now(tz=dt.UTC), days=7)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT TEXT) " + receipt_parts.FIND, parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    used = set(re.findall(r"sms_submittedpart_(\d{8})", plan))
    assert used
    assert min(used) >= f"{today - dt.timedelta(days=7):%Y%m%d}"
    assert max(used) <= f"{today + dt.timedelta(days=1):%Y%m%d}"
    assert "Seq Scan" not in plan
    # The newest day that has the id ends the search: nothing before it is opened.
    yesterday = re.search(
        rf"sms_submittedpart_{today - dt.timedelta(days=1):%Y%m%d}\S* .*\((.*)\)$", plan, re.MULTILINE
    )
    assert yesterday is not None
    assert yesterday[1] == "never executed"


def test_nothing_is_published_for_a_receipt_that_waits(customer_id: UUID) -> None:
    receive(said("5"))
    assert not OutboxEntry.objects.filter(payload__isnull=False).exists()


def test_of_receipts_recorded_together_one_that_cannot_be_stored_harms_no_other(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "1")
    outcomes: list[object] = []

    def record(received: Received) -> None:
        try:
            outcomes.append(receipt_record(received))
        except (DataError, ValueError) as error:
            outcomes.append(type(error))

    bad = said("never submitted", error="\0")
    together.run([partial(record, received) for received in (said("1"), bad, said("2"))])
    assert outcomes == ["matched", DataError, "waiting"]
    assert list(WaitingReceipt.objects.values_list("operator_message_id", flat=True)) == ["2"]
