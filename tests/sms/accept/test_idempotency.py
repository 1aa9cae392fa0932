"""One Idempotency-Key, one charge, one message (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from rest_framework.test import APIClient

from apps.balance.models import Account
from apps.balance.selectors import accounts_off
from apps.sms.models import IdempotencyRecord, Message
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import wait_until_blocked

Post = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("each_lock")


def send_body(customer_id: Any, **change: object) -> dict[str, object]:
    return {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi"} | change


def batch_body(customer_id: Any) -> dict[str, object]:
    messages = [{"to": "09121234567", "text": "hi"}, {"to": "", "text": ""}]
    return {"customer_id": ids.to_text(customer_id), "messages": messages}


@pytest.mark.parametrize(("path", "body"), [("/v1/sms/send", send_body), ("/v1/sms/batch", batch_body)])
def test_second_send_with_the_same_key_charges_once(
    make_customer: MakeCustomer, post: Post, path: str, body: Callable[..., dict[str, object]]
) -> None:
    customer_id = make_customer(balance=1000)
    first = post(path, body(customer_id), **{"Idempotency-Key": "k-1"})
    other = post(path, body(customer_id), **{"Idempotency-Key": "k-2"})
    again = post(path, body(customer_id), **{"Idempotency-Key": '"k-1"'})
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert other.json()["balance"] == 800
    assert Account.objects.get(customer_id=customer_id).balance == 800
    assert Message.objects.filter(customer_id=customer_id).count() == 2


def test_another_request_with_the_key_is_refused(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=1000)
    post("/v1/sms/send", send_body(customer_id), **{"Idempotency-Key": "k"})
    response = post("/v1/sms/send", send_body(customer_id, text="other"), **{"Idempotency-Key": "k"})
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert Account.objects.get(customer_id=customer_id).balance == 900


def test_a_key_is_its_customers_own(make_customer: MakeCustomer, post: Post) -> None:
    for customer_id in (make_customer(balance=1000), make_customer(balance=1000)):
        response = post("/v1/sms/send", send_body(customer_id), **{"Idempotency-Key": "k"})
        assert response.json()["balance"] == 900


def test_a_refusal_is_not_kept(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=0)
    assert post("/v1/sms/send", send_body(customer_id), **{"Idempotency-Key": "k"}).status_code == 402
    Account.objects.filter(customer_id=customer_id).update(balance=100)
    assert post("/v1/sms/send", send_body(customer_id), **{"Idempotency-Key": "k"}).status_code == 200


@pytest.mark.parametrize("key", ["", '""', "x" * 256, '"' + "x" * 256 + '"', '"open', "a b", "clé", "a\x7f"])
def test_a_malformed_key_is_refused(make_customer: MakeCustomer, post: Post, key: str) -> None:
    customer_id = make_customer(balance=1000)
    response = post("/v1/sms/send", send_body(customer_id), **{"Idempotency-Key": key})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    assert Account.objects.get(customer_id=customer_id).balance == 1000


@pytest.mark.parametrize("key", ["x" * 255, '"' + "x" * 255 + '"', r'"a \"quoted\" \\ key"', "8e03978e-40d5-43dd-bc93"])
def test_a_well_formed_key_is_taken(make_customer: MakeCustomer, post: Post, key: str) -> None:
    assert post("/v1/sms/send", send_body(make_customer()), **{"Idempotency-Key": key}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_requests_at_the_same_moment_charge_once_a_key(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=100_000)
    body = send_body(customer_id)

    def send(key: str) -> tuple[str, int, str]:
        try:
            response = APIClient().post("/v1/sms/send", body, format="json", headers={"Idempotency-Key": key})
            return key, response.status_code, response.json().get("id", "")
        finally:
            connections.close_all()

    keys = [f"key-{number % 5}" for number in range(60)]
    random.shuffle(keys)
    with ThreadPoolExecutor(12) as threads:
        with transaction.atomic():  # the first ones all wait for the same account
            Account.objects.select_for_update().get(customer_id=customer_id)
            answers = [threads.submit(send, key) for key in keys]
            wait_until_blocked(12)
        outcomes = {answer.result() for answer in answers}
    assert {status for _, status, _ in outcomes} == {200}
    assert len(outcomes) == 5  # one id a key
    assert Account.objects.get(customer_id=customer_id).balance == 100_000 - 5 * 100
    assert not accounts_off()


@pytest.mark.django_db(transaction=True)
def test_a_request_whose_first_one_does_not_end_is_told_to_come_again(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()

    def send() -> Any:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '50ms'")
            return APIClient().post(
                "/v1/sms/send", send_body(customer_id), format="json", headers={"Idempotency-Key": "k"}
            )
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        Account.objects.select_for_update().get(customer_id=customer_id)
        response = threads.submit(send).result()
    assert (response.status_code, response.json()["code"]) == (409, "request_in_progress")


def test_records_are_kept_for_a_day(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer()
    for key in ("old", "new"):
        post("/v1/sms/send", send_body(customer_id), **{"Idempotency-Key": key})
    day_ago = dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=24, minutes=1)
    IdempotencyRecord.objects.filter(key="old").update(created_at=day_ago)
    call_command("purge", stdout=StringIO())
    assert list(IdempotencyRecord.objects.filter(customer_id=customer_id).values_list("key", flat=True)) == ["new"]
