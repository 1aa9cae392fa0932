"""`POST /v1/sms/send`, `POST /v1/sms/batch`, `GET /v1/sms/{id}`, `GET /v1/customers/{id}/balance`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from rest_framework.test import APIClient

from apps.balance.models import Account
from apps.sms.models import Message, OutboxEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]


def test_send_answers_what_was_accepted_and_what_is_left(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=1000)
    response = post(
        "/v1/sms/send",
        {
            "customer_id": ids.to_text(customer_id),
            "to": "09121234567",
            "text": "س" * 71,
            "from": "Shop",
            "reference": "7",
        },
    )
    assert response.status_code == 200
    answer = response.json()
    message = Message.objects.get(customer_id=customer_id)
    assert answer == {
        "id": ids.to_text(message.id),
        "status": "accepted",
        "to": "+989121234567",
        "encoding": "ucs2",
        "segments": 2,
        "cost": 2 * settings.CONFIG.sms.cost_per_segment,
        "balance": 1000 - 2 * settings.CONFIG.sms.cost_per_segment,
    }
    assert (message.sender, message.reference, message.operator) == ("Shop", "7", "mci")
    assert (message.expires_at - ids.moment(message.id)).total_seconds() == pytest.approx(
        settings.CONFIG.sms.validity, abs=1
    )


def test_the_request_id_is_taken_answered_and_kept_for_the_relay(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer()
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi"}
    response = post("/v1/sms/send", body, **{"X-Request-ID": "trace-42"})
    assert response["X-Request-ID"] == "trace-42"
    assert OutboxEntry.objects.get(customer_id=customer_id).request_id == "trace-42"
    assert len(post("/v1/sms/send", body, **{"X-Request-ID": "bad id\n"})["X-Request-ID"]) == 26


def test_insufficient_balance_is_402_with_the_figures(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=150)
    response = post("/v1/sms/send", {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "a" * 161})
    assert response.status_code == 402
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == "insufficient_balance"
    assert (problem["balance"], problem["cost"]) == (150, 200)
    assert Account.objects.get(customer_id=customer_id).balance == 150


def test_an_unknown_customer_is_404(db: None, post: Post) -> None:
    response = post("/v1/sms/send", {"customer_id": ids.to_text(ids.new_id()), "to": "09121234567", "text": "x"})
    assert (response.status_code, response.json()["code"]) == (404, "customer_not_found")


def test_a_batch_answers_each_item_and_charges_the_valid_ones(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=1000)
    response = post(
        "/v1/sms/batch",
        {
            "customer_id": ids.to_text(customer_id),
            "messages": [
                {"to": "09121234567", "text": "one"},
                {"to": "02122334455", "text": ""},
                {"to": "+989351234567", "text": "€" * 81, "reference": "r"},
                "nonsense",
                {"to": "09121234567", "text": "x", "colour": "red"},
            ],
        },
    )
    assert response.status_code == 200
    answer = response.json()
    assert (answer["accepted"], answer["refused"], answer["cost"], answer["balance"]) == (2, 3, 300, 700)
    results = answer["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4]
    assert [result["status"] for result in results] == ["accepted", "refused", "accepted", "refused", "refused"]
    assert {error["field"] for error in results[1]["errors"]} == {"to", "text"}
    assert results[3]["errors"][0]["code"] == "wrong_type"
    assert results[4]["errors"][0] | {"reason": ""} == {"field": "colour", "code": "unknown_field", "reason": ""}
    stored = Message.objects.filter(customer_id=customer_id).order_by("id")
    assert [ids.to_text(message.id) for message in stored] == [results[0]["id"], results[2]["id"]]
    assert [message.operator for message in stored] == ["mci", "irancell"]


def test_a_batch_that_the_balance_does_not_cover_is_refused_whole(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=150)
    response = post(
        "/v1/sms/batch",
        {"customer_id": ids.to_text(customer_id), "messages": [{"to": "09121234567", "text": "x"}] * 2},
    )
    assert response.status_code == 402
    assert not Message.objects.filter(customer_id=customer_id).exists()


def test_a_batch_without_a_valid_item_still_knows_its_customer(make_customer: MakeCustomer, post: Post) -> None:
    messages = [{"to": "", "text": "x"}]
    known = post("/v1/sms/batch", {"customer_id": ids.to_text(make_customer(balance=5)), "messages": messages})
    assert (known.status_code, known.json()["accepted"], known.json()["balance"]) == (200, 0, 5)
    unknown = post("/v1/sms/batch", {"customer_id": ids.to_text(ids.new_id()), "messages": messages})
    assert unknown.status_code == 404


def test_a_batch_of_the_largest_size_is_one_transaction(make_customer: MakeCustomer, post: Post) -> None:
    count = settings.CONFIG.sms.max_batch
    customer_id = make_customer(balance=count * 100)
    messages = [{"to": f"0912{number:07}", "text": f"code {number}"} for number in range(count)]
    response = post("/v1/sms/batch", {"customer_id": ids.to_text(customer_id), "messages": messages})
    assert response.status_code == 200
    assert (response.json()["accepted"], response.json()["balance"]) == (count, 0)
    assert Message.objects.filter(customer_id=customer_id).values("pk").count() == count
    found = [result["id"] for result in response.json()["results"]]
    assert found == sorted(found)
    too_many = post("/v1/sms/batch", {"customer_id": ids.to_text(customer_id), "messages": [*messages, messages[0]]})
    assert too_many.json()["errors"][0]["field"] == "messages"


def test_a_message_is_read_with_its_history(make_customer: MakeCustomer, post: Post, api: APIClient) -> None:
    customer_id = make_customer()
    sent = post(
        "/v1/sms/send", {"customer_id": ids.to_text(customer_id), "to": "09351234567", "text": "hi", "reference": "r1"}
    ).json()
    answer = api.get(f"/v1/sms/{sent['id']}").json()
    assert answer["status"] == "accepted"
    assert (answer["to"], answer["text"], answer["reference"], answer["operator"]) == (
        "+989351234567",
        "hi",
        "r1",
        "irancell",
    )
    assert [entry["status"] for entry in answer["history"]] == ["accepted"]
    assert api.get(f"/v1/sms/{sent['id'].lower()}").status_code == 200


@pytest.mark.parametrize("message_id", ["01M85WA81DXS4VR531527Q1DX2", "nonsense", "Z" * 26, "U" * 26])
def test_a_message_that_is_not_there_is_404(db: None, api: APIClient, message_id: str) -> None:
    response = api.get(f"/v1/sms/{message_id}")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


def test_looking_up_a_message_touches_one_partition(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer()
    post("/v1/sms/send", {"customer_id": ids.to_text(customer_id), "to": "09351234567", "text": "hi"})
    message_id = Message.objects.get(customer_id=customer_id).id
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN SELECT * FROM sms_message WHERE id = %s", [message_id])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert plan.count("Scan using") == 1, plan
    assert "Append" not in plan


def test_the_balance_is_read(make_customer: MakeCustomer, api: APIClient) -> None:
    customer_id = ids.to_text(make_customer(balance=77))
    assert api.get(f"/v1/customers/{customer_id}/balance").json() == {
        "customer_id": customer_id,
        "balance": 77,
        "currency": "IRR",
    }
    assert api.get(f"/v1/customers/{ids.to_text(ids.new_id())}/balance").json()["code"] == "customer_not_found"
