"""What is noted for customers, in the transaction that records what became of their messages."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from apps.customers.callback_endpoints import endpoint_set
from apps.sms.callbacks.enqueue import USUAL
from apps.sms.models import Callback, Message, StatusEntry
from apps.sms.settlement.cancel import message_cancel
from apps.sms.settlement.service import statuses_settle
from tests.support.callbacks import accept, endpoint_of, event, settle
from tests.support.customers import MakeCustomer

URL = "https://shop.example/sms"


def test_the_end_of_a_message_is_noted_with_its_time(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    [message_id] = settle(customer_id)
    callback = Callback.objects.get()
    assert (callback.customer_id, callback.message_id, callback.event) == (customer_id, message_id, "delivered")
    assert callback.at == dt.datetime.fromtimestamp(1_800_000_000, tz=dt.UTC)
    assert (callback.status, callback.attempts, callback.url) == ("pending", 0, "")


def test_a_status_is_noted_once_whatever_kafka_repeats(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    [message_id] = accept(customer_id)
    delivered = event(message_id, customer_id, "delivered")
    statuses_settle(batch=[delivered, delivered])
    statuses_settle(batch=[delivered])
    StatusEntry.objects.all().delete()  # not even if the status log forgot it
    statuses_settle(batch=[delivered])
    assert Callback.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_settlements_of_the_same_events_at_once_note_them_once(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    batch = [event(message_id, customer_id, "delivered") for message_id in accept(customer_id, count=50)]

    def run() -> None:
        try:
            statuses_settle(batch=batch)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        for ended in [threads.submit(run) for _ in range(4)]:
            ended.result()
    assert Callback.objects.count() == 50


@pytest.mark.parametrize("status", ["submitted", *USUAL])
def test_usually_every_end_is_noted_and_nothing_before_it(make_customer: MakeCustomer, status: str) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    settle(customer_id, status=status)
    assert Callback.objects.exists() == (status != "submitted")


def test_the_customer_says_what_it_wants_to_be_told(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL, ("submitted", "failed"))
    for status in ("submitted", "delivered", "failed"):
        settle(customer_id, status=status)
    assert set(Callback.objects.values_list("event", flat=True)) == {"submitted", "failed"}


def test_without_endpoint_nothing_is_noted(make_customer: MakeCustomer) -> None:
    endpoint_of(make_customer(name="Other"), URL)
    settle(make_customer())
    assert not Callback.objects.exists()


def test_a_disabled_endpoint_is_not_told(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_set(customer_id=customer_id, url=URL, statuses=USUAL, enabled=False)
    settle(customer_id)
    assert not Callback.objects.exists()


def test_a_messages_own_address_is_told_with_or_without_endpoint(make_customer: MakeCustomer) -> None:
    own = "https://shop.example/orders/17"
    without, disabled, enabled = (make_customer() for _ in range(3))
    endpoint_set(customer_id=disabled, url=URL, statuses=USUAL, enabled=False)
    endpoint_of(enabled, URL)
    for customer_id in (without, disabled, enabled):
        settle(customer_id, callback_url=own)
        settle(customer_id, status="submitted", callback_url=own)
    noted = Callback.objects.values_list("customer_id", "url", "event")
    assert set(noted) == {(customer_id, own, "delivered") for customer_id in (without, disabled, enabled)}


def test_a_canceled_message_is_told(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)
    soon = dt.datetime.now(tz=dt.UTC) + dt.timedelta(hours=1)
    [message_id] = accept(customer_id, send_at=int(soon.timestamp() * 1000))
    for _ in range(2):
        message_cancel(message=Message.objects.get(id=message_id))
    assert [(found.message_id, found.event) for found in Callback.objects.all()] == [(message_id, "canceled")]


def test_what_is_not_recorded_is_not_told(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, URL)

    class Undone(Exception):
        pass

    def fail() -> None:
        with transaction.atomic():
            settle(customer_id)
            assert Callback.objects.exists()
            raise Undone

    with pytest.raises(Undone):
        fail()
    assert not Callback.objects.exists()


@pytest.mark.parametrize("count", [1, 100])
def test_a_batch_costs_one_statement_however_many_messages(make_customer: MakeCustomer, count: int) -> None:
    customer_id = make_customer()
    batch = [event(message_id, customer_id, "delivered") for message_id in accept(customer_id, count)]
    with CaptureQueriesContext(connection) as queries:
        statuses_settle(batch=batch)
    assert sum("sms_callback" in query["sql"] for query in queries) == 1
