"""Status events: recorded once, refunded once."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connections

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.sms import events
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.models import OutboxEntry, StatusEntry
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from tests.support.customers import MakeCustomer

DRAFT = Draft("+989121234567", "", "hello", "gsm7", 1, 100, 1_900_000_000_000)


def accept(customer_id: UUID, count: int = 1) -> list[UUID]:
    return messages_accept(customer_id=customer_id, drafts=[DRAFT] * count, config=settings.CONFIG).message_ids


def event(message_id: UUID, customer_id: UUID, status: str, **fields: object) -> events.StatusChanged:
    return events.StatusChanged(
        message_id=ids.to_text(message_id),
        customer_id=ids.to_text(customer_id),
        status=status,
        at=1_800_000_000_000,
        operator="mci",
        **fields,  # type: ignore[arg-type]
    )


def balance(customer_id: UUID) -> int:
    return Account.objects.get(customer_id=customer_id).balance


def statuses_of(message_id: UUID) -> set[str]:
    return set(StatusEntry.objects.filter(message_id=message_id).values_list("status", flat=True))


def test_a_status_is_recorded_with_what_the_operator_said(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    [message_id] = accept(customer_id)
    settled = statuses_settle(batch=[event(message_id, customer_id, "submitted", operator_message_id="007", attempt=2)])
    assert (settled.recorded, settled.repeated, settled.refunded) == (1, 0, 0)
    entry = StatusEntry.objects.get(message_id=message_id)
    assert (entry.operator_message_id, entry.attempt, entry.refund) == ("007", 2, 0)


@pytest.mark.parametrize("status", ["failed", "rejected", "expired", "undelivered"])
def test_a_failure_gives_the_cost_back(make_customer: MakeCustomer, status: str) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = accept(customer_id)
    statuses_settle(batch=[event(message_id, customer_id, status)])
    assert balance(customer_id) == 1000
    refund = LedgerEntry.objects.get(customer_id=customer_id, kind="refund")
    assert (refund.message_id, refund.amount, refund.entry) == (message_id, 100, 3)
    assert StatusEntry.objects.get(message_id=message_id).refund == 100
    told = events.decode_status(bytes(OutboxEntry.objects.get(payload__isnull=False, message_id=message_id).payload))
    assert isinstance(told, events.Refunded)
    assert told.amount == 100


@pytest.mark.parametrize("status", ["submitted", "delivered", "unknown"])
def test_what_is_no_failure_gives_nothing_back(make_customer: MakeCustomer, status: str) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = accept(customer_id)
    statuses_settle(batch=[event(message_id, customer_id, status)])
    assert balance(customer_id) == 900


def test_an_event_handled_twice_changes_nothing(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = accept(customer_id)
    failed = event(message_id, customer_id, "failed")
    statuses_settle(batch=[failed])
    settled = statuses_settle(batch=[failed])
    assert (settled.recorded, settled.repeated, settled.refunded) == (0, 1, 0)
    settled = statuses_settle(batch=[failed, failed])
    assert (settled.recorded, settled.repeated) == (0, 2)
    assert balance(customer_id) == 1000
    assert LedgerEntry.objects.filter(customer_id=customer_id, kind="refund").count() == 1


def test_an_event_twice_in_one_batch_is_handled_once(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = accept(customer_id)
    settled = statuses_settle(batch=[event(message_id, customer_id, "failed")] * 3)
    assert (settled.recorded, settled.repeated, settled.refunded) == (1, 2, 1)
    assert balance(customer_id) == 1000


@pytest.mark.parametrize("order", list(itertools.permutations(["failed", "undelivered", "expired"])))
def test_several_failures_of_a_message_refund_it_once(make_customer: MakeCustomer, order: tuple[str, ...]) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = accept(customer_id)
    for status in order:
        statuses_settle(batch=[event(message_id, customer_id, status)])
    assert balance(customer_id) == 1000
    assert statuses_of(message_id) == set(order)


def test_a_failure_that_comes_after_the_delivery_gives_nothing_back(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = accept(customer_id)
    statuses_settle(batch=[event(message_id, customer_id, "delivered")])
    statuses_settle(batch=[event(message_id, customer_id, "undelivered")])
    assert balance(customer_id) == 900


def test_an_event_of_an_unknown_message_is_told_and_the_others_count(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = accept(customer_id)
    stranger = event(ids.new_id(), customer_id, "failed")
    settled = statuses_settle(batch=[stranger, event(message_id, customer_id, "failed")])
    assert settled.unknown == [stranger]
    assert balance(customer_id) == 1000


def test_many_customers_in_one_batch(make_customer: MakeCustomer) -> None:
    customers = [make_customer(balance=1000) for _ in range(5)]
    batch = [
        event(message_id, customer_id, "failed")
        for customer_id in customers
        for message_id in accept(customer_id, count=4)
    ]
    assert statuses_settle(batch=batch[::-1]).refunded == 20
    assert [balance(customer_id) for customer_id in customers] == [1000] * 5
    assert not accounts_off()


@pytest.mark.django_db(transaction=True)
def test_two_settlements_of_the_same_events_at_once_refund_once(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=10_000)
    batch = [event(message_id, customer_id, "failed") for message_id in accept(customer_id, count=50)]

    def settle() -> int:
        try:
            return statuses_settle(batch=batch).refunded
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        refunded = [run.result() for run in [threads.submit(settle) for _ in range(4)]]
    assert sorted(refunded) == [0, 0, 0, 50]
    assert balance(customer_id) == 10_000
    assert not accounts_off()
