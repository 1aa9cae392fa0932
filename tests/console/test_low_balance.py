"""A low balance is notified once, by a signed callback and an e-mail, and again after a top-up."""

from __future__ import annotations

import smtplib
import threading
from typing import Any

import pytest
from django.core import mail
from django.db import connection, transaction

from apps.balance import low_balance as alerts
from apps.balance.low_balance import low_balance_set
from apps.balance.models import LowBalance
from apps.balance.services import account_adjust, account_top_up
from apps.customers.models import Customer
from apps.sms.callbacks import low_balance
from apps.sms.callbacks.low_balance import LowBalanceWatch, low_balances_notify, mails_send
from apps.sms.models import Callback, Message
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from tests.support.callbacks import Endpoint, RunningWorker, config_with, endpoint_of, event, settle, wait_for
from tests.support.console import Person
from tests.support.customers import MakeCustomer


@pytest.fixture
def mails(settings: Any) -> list[Any]:
    settings.EMAIL_HOST = "mail.example"  # the backend of tests keeps what is sent
    return mail.outbox


def test_the_notice_comes_once_and_again_after_a_top_up_but_not_after_a_refund(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    endpoint_of(customer_id, "http://127.0.0.1:9/")
    low_balance_set(customer_id=customer_id, threshold=500)
    assert low_balances_notify() == 0
    account_adjust(customer_id=customer_id, amount=-501, reason="spent")
    assert low_balances_notify() == 1
    assert low_balances_notify() == 0
    account_adjust(customer_id=customer_id, amount=-100, reason="spent more")
    assert low_balances_notify() == 0
    account_top_up(customer_id=customer_id, amount=50, reference="too little")
    assert low_balances_notify() == 0
    account_top_up(customer_id=customer_id, amount=51, reference="to the threshold")
    assert low_balances_notify() == 0
    account_adjust(customer_id=customer_id, amount=-1, reason="spent again")
    assert low_balances_notify() == 1
    data = Callback.objects.order_by("id").values_list("event", "data")
    expected = {"customer_id": ids.to_text(customer_id), "threshold": 500, "currency": "IRR"}
    assert list(data) == [("balance.low", expected | {"balance": 499}), ("balance.low", expected | {"balance": 499})]


def test_a_refund_alone_does_not_reenable_the_notice(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=100)
    low_balance_set(customer_id=customer_id, threshold=50)
    settle(customer_id, status="submitted")
    assert low_balances_notify() == 1
    statuses_settle(batch=[event(Message.objects.get().id, customer_id, "undelivered")])
    settle(customer_id, status="submitted")
    assert low_balances_notify() == 0


def test_a_new_threshold_reenables_the_notice_and_without_one_there_is_none(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=100)
    low_balance_set(customer_id=customer_id, threshold=500)
    assert low_balances_notify() == 1
    low_balance_set(customer_id=customer_id, threshold=500)
    assert low_balances_notify() == 0
    low_balance_set(customer_id=customer_id, threshold=400)
    assert low_balances_notify() == 1
    low_balance_set(customer_id=customer_id, threshold=None)
    assert not LowBalance.objects.exists()
    assert low_balances_notify() == 0
    with pytest.raises(alerts.InvalidThreshold):
        low_balance_set(customer_id=customer_id, threshold=0)


def test_an_email_is_sent_once_in_major_units(make_customer: MakeCustomer, mails: list[Any]) -> None:
    customer_id = make_customer(balance=12_345, name="Bazaar")
    Customer.objects.update(email="ops@bazaar.example")
    low_balance_set(customer_id=customer_id, threshold=20_000)
    assert (low_balances_notify(), mails_send(), mails_send(), len(mails)) == (1, 1, 0, 1)
    assert mails[0].to == ["ops@bazaar.example"]
    assert mails[0].subject == "Your SMS balance is low: 123.45 IRR"
    assert "The balance of Bazaar is 123.45 IRR" in mails[0].body
    assert "below 200.00 IRR" in mails[0].body


def test_an_email_that_the_server_refuses_is_sent_later_unless_a_top_up_came(
    make_customer: MakeCustomer, mails: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = make_customer(balance=100)
    Customer.objects.update(email="ops@bazaar.example")
    low_balance_set(customer_id=customer_id, threshold=500)
    low_balances_notify()

    def refuse(_backend: Any, _messages: Any) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr(low_balance, "_LEASE_SECONDS", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
        assert mails_send() == 0
    assert LowBalance.objects.get().mail_at is not None
    assert mails_send() == 1
    low_balance_set(customer_id=customer_id, threshold=400)
    low_balances_notify()
    account_top_up(customer_id=customer_id, amount=1000, reference="INV-7")
    assert mails_send() == 0


@pytest.mark.django_db(transaction=True)
def test_a_top_up_during_a_check_reenables_the_notice(transactional_db: None, make_customer: MakeCustomer) -> None:
    """The look has locked the customer's row and not ended; the top-up waits for it and arms the row again."""
    customer_id = make_customer(balance=100)
    low_balance_set(customer_id=customer_id, threshold=500)

    def top_up() -> None:
        account_top_up(customer_id=customer_id, amount=1000, reference="INV-7")
        connection.close()

    thread = threading.Thread(target=top_up)
    with transaction.atomic():
        assert len(alerts.low_balances_mark()) == 1
        thread.start()
        wait_for(_somebody_waits_for_a_lock, "the top-up to come to the row")
    thread.join()
    assert LowBalance.objects.get().told_at is None
    account_adjust(customer_id=customer_id, amount=-1000, reason="spent")
    assert low_balances_notify() == 1


@pytest.mark.django_db(transaction=True)
def test_the_next_check_waits_for_a_top_up_that_is_not_committed_yet(
    transactional_db: None, make_customer: MakeCustomer
) -> None:
    """A check that began before the top-up ended sees the old balance: it must not send a notice."""
    customer_id = make_customer(balance=100)
    low_balance_set(customer_id=customer_id, threshold=500)
    said: list[int] = []

    def look() -> None:
        said.append(low_balances_notify())
        connection.close()

    with transaction.atomic():
        account_top_up(customer_id=customer_id, amount=1000, reference="INV-7")
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert said == [0]
    assert LowBalance.objects.get().told_at is None


def _somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_the_customer_gets_a_signed_callback_from_the_running_process(
    transactional_db: None, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=100)
    with Endpoint() as endpoint, RunningWorker(config_with()):
        secret = endpoint_of(customer_id, endpoint.url)
        with LowBalanceWatch(threading.Event(), seconds=0.01):
            low_balance_set(customer_id=customer_id, threshold=500)
            wait_for(lambda: endpoint.received, "the callback")
    (received,) = endpoint.received
    payload = received.verified(secret)
    assert payload["type"] == "balance.low"
    assert payload["data"] == {
        "customer_id": ids.to_text(customer_id),
        "balance": 100,
        "threshold": 500,
        "currency": "IRR",
    }


def test_the_threshold_is_set_in_the_console_in_major_units(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=100)
    page = f"/admin/console/customers/{ids.to_text(customer_id)}/low-balance/"
    finance = person("Finance")
    finance.post(page, {"threshold": "1,000.00"})
    assert LowBalance.objects.get().threshold == 100_000
    low = finance.get("/admin/customers/customer/", {"balance": "low"})
    assert [customer.pk for customer in low.context["cl"].result_list] == [customer_id]
    assert finance.post(page, {"threshold": "-1"}).context["form"].errors["threshold"]
    finance.post(page, {"threshold": ""})
    assert not LowBalance.objects.exists()
