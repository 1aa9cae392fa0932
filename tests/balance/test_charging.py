"""The charge: under the account's lock, with its ledger, or not at all."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from apps.balance.errors import InsufficientBalance
from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.customers.errors import CustomerNotFound, CustomerSuspended
from apps.customers.models import Customer
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.models import Message, OutboxEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import wait_until_blocked

pytestmark = pytest.mark.usefixtures("each_lock")

DRAFT = Draft("+989121234567", "", "hello", "gsm7", 1, 100, 1_900_000_000_000)


def accept(customer_id: UUID, count: int = 1) -> int:
    return messages_accept(customer_id=customer_id, drafts=[DRAFT] * count, config=settings.CONFIG).balance


def accept_in_thread(customer_id: UUID, count: int = 1) -> str:
    try:
        accept(customer_id, count)
    except InsufficientBalance as error:
        return error.code
    finally:
        connections.close_all()
    return "accepted"


def test_charge_writes_account_ledger_message_and_outbox_together(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    assert accept(customer_id, 3) == 700
    account = Account.objects.get(customer_id=customer_id)
    assert (account.balance, account.entries) == (700, 4)
    entries = LedgerEntry.objects.filter(customer_id=customer_id).order_by("entry")
    assert [(entry.entry, entry.kind, entry.amount, entry.balance_after) for entry in entries] == [
        (1, "topup", 1000, 1000),
        (2, "charge", -100, 900),
        (3, "charge", -100, 800),
        (4, "charge", -100, 700),
    ]
    message_ids = {message.id for message in Message.objects.filter(customer_id=customer_id)}
    assert {entry.message_id for entry in entries if entry.message_id} == message_ids
    assert {entry.message_id for entry in OutboxEntry.objects.filter(customer_id=customer_id)} == message_ids
    assert not accounts_off()


def test_insufficient_balance_changes_nothing_and_tells_the_figures(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=250)
    with pytest.raises(InsufficientBalance) as caught:
        accept(customer_id, 3)
    assert caught.value.members == {"balance": 250, "cost": 300}
    assert Account.objects.get(customer_id=customer_id).balance == 250
    assert not Message.objects.filter(customer_id=customer_id).exists()
    assert not OutboxEntry.objects.filter(customer_id=customer_id).exists()


def test_unknown_and_suspended_customers_are_told_apart(make_customer: MakeCustomer) -> None:
    with pytest.raises(CustomerNotFound):
        accept(ids.new_id())
    customer_id = make_customer()
    Customer.objects.filter(id=customer_id).update(status=Customer.Status.SUSPENDED)
    with pytest.raises(CustomerSuspended):
        accept(customer_id)


@pytest.mark.django_db(transaction=True)
def test_two_clients_that_spend_one_balance_at_once_spend_it_once(make_customer: MakeCustomer) -> None:
    """Both statements start while a third transaction holds the account, so both have seen the same balance."""
    customer_id = make_customer(balance=100)
    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            Account.objects.select_for_update().get(customer_id=customer_id)
            outcomes = [threads.submit(accept_in_thread, customer_id) for _ in range(2)]
            wait_until_blocked(2)
        assert sorted(outcome.result() for outcome in outcomes) == ["accepted", "insufficient_balance"]
    account = Account.objects.get(customer_id=customer_id)
    assert (account.balance, account.entries) == (0, 2)
    assert Message.objects.filter(customer_id=customer_id).count() == 1
    assert not accounts_off()


@pytest.mark.django_db(transaction=True)
def test_who_waited_for_the_account_is_told_what_the_other_left(make_customer: MakeCustomer) -> None:
    """Both began with 300 in sight; without the account's lock the second would decide by that."""
    customer_id = make_customer(balance=300)

    def refused() -> dict[str, object]:
        try:
            with pytest.raises(InsufficientBalance) as caught:
                accept(customer_id, 3)
            return caught.value.members
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            assert accept(customer_id, 2) == 100
            outcome = threads.submit(refused)
            wait_until_blocked(1)
        assert outcome.result() == {"balance": 100, "cost": 300}
    assert Message.objects.filter(customer_id=customer_id).count() == 2
    assert not accounts_off()


@pytest.mark.django_db(transaction=True)
def test_many_clients_never_spend_more_than_there_is(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=5000)
    start = threading.Barrier(8)

    def spend() -> Counter[str]:
        start.wait()
        return Counter(accept_in_thread(customer_id, 1 + number % 3) for number in range(10))

    with ThreadPoolExecutor(8) as threads:
        runs = [threads.submit(spend) for _ in range(8)]
        outcomes = sum((run.result() for run in runs), Counter[str]())
    account = Account.objects.get(customer_id=customer_id)
    assert outcomes["insufficient_balance"]
    assert account.balance + 100 * Message.objects.filter(customer_id=customer_id).count() == 5000
    entries = LedgerEntry.objects.filter(customer_id=customer_id).order_by("entry")
    assert [entry.entry for entry in entries] == list(range(1, account.entries + 1))
    assert entries.last().balance_after == account.balance
    assert not accounts_off()


@pytest.mark.django_db(transaction=True)
def test_nothing_is_charged_if_the_outbox_cannot_be_written(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sms_outboxentry ADD CONSTRAINT never CHECK (false) NOT VALID")
    try:
        with pytest.raises(Exception, match="never"):
            accept(customer_id)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE sms_outboxentry DROP CONSTRAINT never")
    account = Account.objects.get(customer_id=customer_id)
    assert (account.balance, account.entries) == (1000, 1)
    assert not Message.objects.filter(customer_id=customer_id).exists()
    assert LedgerEntry.objects.filter(customer_id=customer_id).count() == 1


def test_the_database_itself_refuses_a_negative_balance(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=10)
    with pytest.raises(Exception, match="account_balance_not_negative"), transaction.atomic():
        Account.objects.filter(customer_id=customer_id).update(balance=-1)
