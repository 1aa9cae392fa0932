"""What the API answers and sends has the form that the OpenAPI document says: every field, and the headers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db.models.functions import Now
from rest_framework.test import APIClient

from apps.balance.low_balance import low_balance_set
from apps.customers.models import Customer
from apps.sms.callbacks.enqueue import callback_test
from apps.sms.callbacks.lanes import Lane, Turn
from apps.sms.callbacks.low_balance import low_balances_tell
from apps.sms.callbacks.payload import bodies
from apps.sms.callbacks.rows import claim
from apps.sms.callbacks.sender import signed_headers
from apps.sms.models import Callback
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from tests.support.callbacks import event
from tests.support.customers import MakeCustomer
from tests.support.openapi_documents import checked, document, faults

Post = Callable[..., Any]

SENT = {"to": "09121234567", "text": "Your code is 1234"}


def reach(customer_id: UUID, message: dict[str, Any], *reached: str) -> None:
    """The message reaches these statuses."""
    message_id = ids.from_text(message["id"])
    statuses_settle(batch=[event(message_id, customer_id, status) for status in reached])


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> UUID:
    return make_customer()


def test_sending_answers_as_described(post: Post, api: APIClient, customer_id: UUID) -> None:
    customer = ids.to_text(customer_id)
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    body = {"customer_id": customer, **SENT, "metadata": {"campaign": "9"}, "from": "Shop"}
    first = post("/v1/sms/send", body, **{"Idempotency-Key": "one"})
    message = checked("sendMessage", first)
    assert {"RateLimit", "RateLimit-Policy"} <= first.headers.keys()
    again = post("/v1/sms/send", body, **{"Idempotency-Key": "one"})
    checked("sendMessage", again)
    assert again.headers["Idempotent-Replayed"] == "true"
    scheduled = checked("sendMessage", post("/v1/sms/send", {"customer_id": customer, **SENT, "send_at": later}))
    batch = {"customer_id": customer, "messages": [SENT, {**SENT, "send_at": later}, {"to": "021", "text": ""}, 7]}
    assert checked("sendBatch", post("/v1/sms/batch", batch))["refused"] == 2
    assert checked("estimateCost", post("/v1/sms/estimate", batch))["results"][0]["status"] == "valid"
    broadcast = {"customer_id": customer, "to": ["09121234567", 7], "text": "Sale!"}
    assert checked("sendBatch", post("/v1/sms/batch", broadcast))["accepted"] == 1
    checked("cancelMessage", post(f"/v1/sms/{scheduled['id']}/cancel", {}))
    reach(customer_id, message, "submitted", "undelivered")
    for one in (message, scheduled):
        checked("getMessage", api.get(f"/v1/sms/{one['id']}"))
    assert len(checked("listMessages", api.get("/v1/sms", {"customer_id": customer}))["messages"]) == 5
    checked("getBalance", api.get(f"/v1/customers/{customer}/balance"))
    kinds = checked("listTransactions", api.get(f"/v1/customers/{customer}/transactions"))["transactions"]
    assert {entry["kind"] for entry in kinds} == {"topup", "charge", "refund"}


def test_callbacks_answer_as_described(api: APIClient, customer_id: UUID) -> None:
    path = f"/v1/customers/{ids.to_text(customer_id)}/callback"
    endpoint = checked("setCallbackEndpoint", api.put(path, {"url": "https://shop.example/sms"}, format="json"))
    assert endpoint["secret"]
    checked("getCallbackEndpoint", api.get(path))
    checked("rotateCallbackSecret", api.post(f"{path}/rotate-secret"))
    tested = checked("testCallbackEndpoint", api.post(f"{path}/test"))
    checked("replayCallback", api.post(f"/v1/callbacks/{tested['id']}/replay"))
    assert checked("listCallbacks", api.get(f"{path}s"))["callbacks"]


def test_problems_have_the_headers_that_are_described(
    post: Post, api: APIClient, customer_id: UUID, settings: Any
) -> None:
    body = {"customer_id": ids.to_text(customer_id), **SENT}
    assert checked("sendMessage", post("/v1/sms/send", {}), 400)["errors"]
    checked("sendMessage", api.generic("POST", "/v1/sms/send", "", content_type="text/plain"), 415)
    checked("getMessage", api.get(f"/v1/sms/{ids.to_text(ids.new_id())}"), 404)
    Customer.objects.filter(id=customer_id).update(messages_per_minute=1)
    checked("sendMessage", post("/v1/sms/send", body))
    limited = post("/v1/sms/send", body)
    checked("sendMessage", limited, 429)
    assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= limited.headers.keys()
    keys = dataclasses.replace(settings.CONFIG.api, keys="required")
    settings.CONFIG = dataclasses.replace(settings.CONFIG, api=keys)
    refused = post("/v1/sms/send", body)
    checked("sendMessage", refused, 401)
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def webhook_of(kind: str) -> dict[str, Any]:
    """The webhook whose events have this type."""
    (found,) = (
        item["post"]
        for item in document()["webhooks"].values()
        if kind in item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["type"]["enum"]
    )
    return found


def test_events_are_sent_as_the_webhooks_say(post: Post, api: APIClient, customer_id: UUID) -> None:
    path = f"/v1/customers/{ids.to_text(customer_id)}/callback"
    every = ["submitted", "undelivered", "delivered"]
    secret = api.put(path, {"url": "https://shop.example/sms", "statuses": every}, format="json").json()["secret"]
    low_balance_set(customer_id=customer_id, threshold=2_000_000)
    message = post("/v1/sms/send", {"customer_id": ids.to_text(customer_id), **SENT}).json()
    reach(customer_id, message, *every)
    callback_test(customer_id=customer_id)
    assert low_balances_tell() == 1
    Callback.objects.update(next_at=Now())
    claimed = claim(turns=[Turn(Lane(customer_id, ""), 10)], lease_seconds=60)
    sent = bodies(claimed)
    assert len(sent) == 5
    for callback_id, body in sent.items():
        found = json.loads(body)
        described = webhook_of(found["type"])
        assert faults(described["requestBody"]["content"]["application/json"]["schema"], found, closed=True) == []
        headers = signed_headers(
            id=ids.to_text(callback_id), body=body, secrets=[secret, secret], now=dt.datetime.now(dt.UTC)
        )
        parameters = {parameter["name"]: parameter["schema"] for parameter in described["parameters"]}
        assert parameters.keys() == headers.keys() - {"Content-Type", "User-Agent"}
        for name, schema in parameters.items():
            value = int(headers[name]) if schema["type"] == "integer" else headers[name]
            assert faults(schema, value) == [], name
