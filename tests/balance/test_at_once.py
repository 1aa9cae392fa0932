"""Top-ups, adjustments and sends on one account at once: `scripts.money_load`, briefly. Waiting for an account."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection, transaction

from apps.balance.models import LedgerEntry
from apps.balance.services import account_adjust, account_top_up, account_top_up_once, lock_account
from scripts.money_load import run
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import wait_until_blocked


@pytest.mark.django_db(transaction=True)
def test_the_balance_is_the_ledgers_sum_and_never_negative(transactional_db: None) -> None:
    told = run(seconds=2)
    assert told["right"], told
    assert all(told[name] for name in ("sends", "top_ups", "adjustments")), told


BOOKINGS: dict[str, Callable[[UUID], object]] = {
    "topup": lambda customer_id: account_top_up(customer_id=customer_id, amount=5, reference="x"),
    "topup once": lambda customer_id: account_top_up_once(customer_id=customer_id, amount=5, reference="x"),
    "adjustment": lambda customer_id: account_adjust(customer_id=customer_id, amount=5, reason="x"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", list(BOOKINGS))
def test_an_entry_that_waited_for_its_account_has_the_time_at_which_it_was_booked(
    transactional_db: None, make_customer: MakeCustomer, kind: str
) -> None:
    """A wait over midnight or the end of a month must not put it behind entries that were booked before it."""
    customer_id = make_customer(balance=0)

    def book() -> None:
        try:
            BOOKINGS[kind](customer_id)
        finally:
            connection.close()

    waiting = threading.Thread(target=book)
    with transaction.atomic():
        lock_account(customer_id=customer_id)
        waiting.start()
        wait_until_blocked(1)
        released = dt.datetime.now(tz=dt.UTC)
    waiting.join()
    entry = LedgerEntry.objects.get(customer_id=customer_id)
    assert ids.milliseconds(entry.id) >= int(released.timestamp() * 1000)
