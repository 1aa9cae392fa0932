"""Top-ups and refunds."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.db.transaction import TransactionManagementError

from apps.balance.errors import InvalidAmount
from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.balance.services import MAX_BALANCE, Refund, account_refund, account_top_up, lock_account
from apps.customers.errors import CustomerNotFound
from smsgateway import ids
from tests.support.customers import MakeCustomer


def test_top_up_adds_to_the_balance_and_the_ledger(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    entry = account_top_up(customer_id=customer_id, amount=500, reference="invoice 7")
    assert (entry.entry, entry.balance_after, entry.reference) == (1, 500, "invoice 7")
    assert Account.objects.get(customer_id=customer_id).balance == 500


@pytest.mark.parametrize("amount", [0, -1, MAX_BALANCE + 1])
def test_top_up_refuses_amounts_that_are_none(make_customer: MakeCustomer, amount: int) -> None:
    customer_id = make_customer(balance=100)
    with pytest.raises(InvalidAmount):
        account_top_up(customer_id=customer_id, amount=amount, reference="x")
    assert Account.objects.get(customer_id=customer_id).balance == 100


def test_top_up_refuses_a_balance_beyond_bigint(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=MAX_BALANCE)
    with pytest.raises(InvalidAmount):
        account_top_up(customer_id=customer_id, amount=1, reference="x")
    assert LedgerEntry.objects.filter(customer_id=customer_id).count() == 1


def test_top_up_of_an_unknown_customer_is_refused(db: None) -> None:
    with pytest.raises(CustomerNotFound):
        account_top_up(customer_id=ids.new_id(), amount=1, reference="x")


def test_refunds_carry_the_balance_on_from_entry_to_entry(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=100)
    refunds = [Refund(ids.new_id(), 30), Refund(ids.new_id(), 5)]
    with transaction.atomic():
        account_refund(account=lock_account(customer_id=customer_id), refunds=refunds)
    entries = LedgerEntry.objects.filter(customer_id=customer_id, kind="refund").order_by("entry")
    assert [(entry.message_id, entry.entry, entry.balance_after) for entry in entries] == [
        (refunds[0].message_id, 2, 130),
        (refunds[1].message_id, 3, 135),
    ]
    assert not accounts_off()


def test_an_inconsistent_account_is_found(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=100)
    Account.objects.filter(customer_id=customer_id).update(balance=101)
    assert [account.customer_id for account in accounts_off()] == [customer_id]


@pytest.mark.django_db(transaction=True)
def test_an_account_is_locked_in_a_transaction_only(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with pytest.raises(TransactionManagementError):
        lock_account(customer_id=customer_id)
