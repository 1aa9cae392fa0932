"""What customers do about their callbacks over the API, and what is purged."""

from __future__ import annotations

import dataclasses
import datetime as dt
from io import StringIO
from typing import Any, get_args
from uuid import UUID

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from apps.customers.callback_endpoints import secret_rotate, secrets_live, secrets_told
from apps.customers.keys import key_create
from apps.customers.models import CallbackEndpoint, CallbackSecret
from apps.sms import statuses
from apps.sms.callbacks.enqueue import USUAL
from apps.sms.callbacks.schemas import Status
from apps.sms.models import Callback
from smsgateway import ids
from tests.support.callbacks import settle
from tests.support.customers import MakeCustomer

URL = "https://shop.example/sms"


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> UUID:
    return make_customer()


def path(customer_id: UUID, rest: str = "") -> str:
    return f"/v1/customers/{ids.to_text(customer_id)}/callback{rest}"


def put(api: APIClient, customer_id: UUID, **body: Any) -> Any:
    return api.put(path(customer_id), {"url": URL} | body, format="json")


def test_the_first_put_shows_a_secret_and_no_later_answer_does(api: APIClient, customer_id: UUID) -> None:
    made = put(api, customer_id).json()
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert secrets_live(customer_ids=[customer_id]) == {customer_id: [secret]}
    assert (made["url"], made["statuses"], made["enabled"]) == (URL, list(USUAL), True)
    assert (made["disabled_at"], made["disabled_reason"], len(made["secrets"])) == (None, "", 1)
    assert api.get(path(customer_id)).json() == made
    changed = put(api, customer_id, url="https://new.example/", statuses=["delivered", "submitted", "delivered"])
    assert "secret" not in changed.json()
    told = api.get(path(customer_id)).json()
    assert (told["url"], told["statuses"]) == ("https://new.example/", ["delivered", "submitted"])


def test_the_first_put_shows_the_secret_that_a_callback_made_before(api: APIClient, customer_id: UUID) -> None:
    """Callbacks to a message's own URL are signed too, and nobody has seen with what."""
    (made,) = secrets_live(customer_ids=[customer_id])[customer_id]
    assert put(api, customer_id).json()["secret"] == made
    assert "secret" not in put(api, customer_id).json()
    assert "secret" not in api.get(path(customer_id)).json()


def test_every_status_that_is_recorded_may_be_told() -> None:
    beginnings = {statuses.ACCEPTED, statuses.SCHEDULED, statuses.QUEUED}
    assert set(get_args(Status)) == set(statuses.ORDER) - beginnings


def test_put_enables_what_was_disabled(api: APIClient, customer_id: UUID) -> None:
    disabled = put(api, customer_id, enabled=False).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "by the customer")
    again = put(api, customer_id, enabled=False).json()
    assert again["disabled_at"] == disabled["disabled_at"]
    CallbackEndpoint.objects.update(disabled_reason="410")
    enabled = put(api, customer_id).json()
    assert (enabled["enabled"], enabled["disabled_at"], enabled["disabled_reason"]) == (True, None, "")


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "url", "missing"),
        ({"url": ""}, "url", "invalid_url"),
        ({"url": "http://shop.example/"}, "url", "invalid_url"),
        ({"url": "https://10.0.0.1/"}, "url", "invalid_url"),
        ({"url": "https://user@shop.example/"}, "url", "invalid_url"),
        ({"url": "https://shop.example/#a"}, "url", "invalid_url"),
        ({"url": "https://shop.example/" + "a" * 2048}, "url", "too_long"),
        ({"url": 5}, "url", "wrong_type"),
        ({"url": URL, "statuses": []}, "statuses", "empty"),
        ({"url": URL, "statuses": ["accepted"]}, "statuses", "invalid_value"),
        ({"url": URL, "colour": "red"}, "colour", "unknown_field"),
    ],
)
def test_a_wrong_endpoint_is_refused_with_its_field(
    api: APIClient, customer_id: UUID, body: dict[str, Any], field: str, code: str
) -> None:
    response = api.put(path(customer_id), body, format="json")
    assert response.status_code == 400
    assert [(fault["field"], fault["code"]) for fault in response.json()["errors"]] == [(field, code)]
    assert not CallbackEndpoint.objects.exists()


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "http://shop.example/", "https://u:p@shop.example/"])
def test_a_messages_own_address_is_judged_the_same(api: APIClient, customer_id: UUID, url: str) -> None:
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi", "callback_url": url}
    response = api.post("/v1/sms/send", body, format="json")
    assert response.status_code == 400
    assert [fault["field"] for fault in response.json()["errors"]] == ["callback_url"]


def test_rotating_shows_the_new_secret_and_keeps_the_old_for_a_day(api: APIClient, customer_id: UUID) -> None:
    old = put(api, customer_id).json()["secret"]
    rotated = api.post(path(customer_id, "/rotate-secret")).json()
    assert secrets_live(customer_ids=[customer_id]) == {customer_id: [rotated["secret"], old]}
    until = dt.datetime.fromisoformat(rotated["previous_valid_until"])
    assert dt.timedelta(hours=23) < until - dt.datetime.now(tz=dt.UTC) <= dt.timedelta(hours=24)
    assert [secret["expires_at"] for secret in api.get(path(customer_id)).json()["secrets"]] == [
        None,
        rotated["previous_valid_until"],
    ]
    CallbackSecret.objects.exclude(expires_at=None).update(expires_at=dt.datetime.now(tz=dt.UTC))
    assert secrets_live(customer_ids=[customer_id]) == {customer_id: [rotated["secret"]]}


def test_a_second_rotation_does_not_lengthen_the_first_ones_overlap(customer_id: UUID) -> None:
    secret_rotate(customer_id=customer_id)
    secret_rotate(customer_id=customer_id)
    first = secrets_told(customer_id=customer_id)[1].expires_at
    secret_rotate(customer_id=customer_id)
    assert secrets_told(customer_id=customer_id)[2].expires_at == first


def test_who_rotates_all_day_keeps_the_newest_few(customer_id: UUID) -> None:
    rotated = [secret_rotate(customer_id=customer_id)[0] for _ in range(8)]
    assert secrets_live(customer_ids=[customer_id])[customer_id] == rotated[:-6:-1]


def test_the_log_tells_what_was_sent_newest_first_in_pages(api: APIClient, customer_id: UUID) -> None:
    put(api, customer_id)
    messages = [settle(customer_id)[0] for _ in range(3)]
    first = api.get(path(customer_id, "s"), {"limit": 2}).json()
    second = api.get(path(customer_id, "s"), {"limit": 2, "cursor": first["next_cursor"]}).json()
    assert second["next_cursor"] is None
    told = first["callbacks"] + second["callbacks"]
    assert [callback["message_id"] for callback in told] == [ids.to_text(id) for id in messages[::-1]]
    assert (told[0]["type"], told[0]["status"], told[0]["attempts"]) == ("message.delivered", "pending", 0)
    assert told[0]["timestamp"] == "2027-01-15T08:00:00Z"


def test_the_log_can_be_filtered(api: APIClient, customer_id: UUID, make_customer: MakeCustomer) -> None:
    put(api, customer_id)
    put(api, other := make_customer())
    settle(other)
    one, two = settle(customer_id, count=2)
    Callback.objects.filter(message_id=one).update(status="failed", last_error="timeout")
    found = api.get(path(customer_id, "s"), {"status": "failed"}).json()["callbacks"]
    assert [(callback["message_id"], callback["error"]) for callback in found] == [(ids.to_text(one), "timeout")]
    found = api.get(path(customer_id, "s"), {"message_id": ids.to_text(two)}).json()["callbacks"]
    assert [callback["message_id"] for callback in found] == [ids.to_text(two)]
    found = api.get(path(customer_id, "s"), {"to": "2020-01-01"}).json()["callbacks"]
    assert found == []
    assert api.get(path(customer_id, "s"), {"status": "lost"}).status_code == 400


def test_a_test_event_is_noted_each_time(api: APIClient, customer_id: UUID) -> None:
    assert api.post(path(customer_id, "/test")).json()["code"] == "callback_endpoint_not_found"
    put(api, customer_id)
    noted = [api.post(path(customer_id, "/test")).json() for _ in range(2)]
    assert [(callback["type"], callback["message_id"], callback["status"]) for callback in noted] == [
        ("callback.test", None, "pending")
    ] * 2
    assert noted[0]["id"] != noted[1]["id"]


def test_what_has_failed_is_replayed_from_its_first_try(api: APIClient, customer_id: UUID) -> None:
    put(api, customer_id)
    settle(customer_id)
    callback = Callback.objects.get()
    Callback.objects.update(status="failed", attempts=11, next_at=None)
    replayed = api.post(f"/v1/callbacks/{ids.to_text(callback.id)}/replay").json()
    assert (replayed["id"], replayed["status"], replayed["attempts"]) == (ids.to_text(callback.id), "pending", 0)
    assert replayed["next_attempt_at"] is not None
    put(api, customer_id, enabled=False)
    refused = api.post(f"/v1/callbacks/{ids.to_text(callback.id)}/replay")
    assert (refused.status_code, refused.json()["code"]) == (409, "callback_endpoint_disabled")


def test_a_key_reaches_its_own_customers_callbacks_alone(
    api: APIClient, customer_id: UUID, make_customer: MakeCustomer, settings: Any
) -> None:
    put(api, customer_id)
    settle(customer_id)
    callback = Callback.objects.get()
    _, key = key_create(customer_id=make_customer())
    settings.CONFIG = dataclasses.replace(
        settings.CONFIG, api=dataclasses.replace(settings.CONFIG.api, keys="required")
    )
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    refused = [
        api.get(path(customer_id)),
        put(api, customer_id),
        api.post(path(customer_id, "/rotate-secret")),
        api.post(path(customer_id, "/test")),
        api.get(path(customer_id, "s")),
    ]
    assert [response.json()["code"] for response in refused] == ["wrong_customer"] * 5
    replay = api.post(f"/v1/callbacks/{ids.to_text(callback.id)}/replay")
    assert replay.json()["code"] == "callback_not_found"


@pytest.mark.parametrize("call", ["get", "put", "rotate", "test", "list"])
def test_a_customer_that_does_not_exist_is_told(api: APIClient, call: str, db: None) -> None:
    nobody = ids.new_id()
    response = {
        "get": lambda: api.get(path(nobody)),
        "put": lambda: put(api, nobody),
        "rotate": lambda: api.post(path(nobody, "/rotate-secret")),
        "test": lambda: api.post(path(nobody, "/test")),
        "list": lambda: api.get(path(nobody, "s")),
    }[call]()
    assert (response.status_code, response.json()["code"]) == (404, "customer_not_found")


def test_purge_deletes_what_ended_long_ago(api: APIClient, customer_id: UUID) -> None:
    put(api, customer_id)
    settle(customer_id, count=2)
    long_ago = ids.lowest_id(dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=15))
    Callback.objects.create(
        id=long_ago, customer_id=customer_id, event="test", at=dt.datetime.now(tz=dt.UTC), status="delivered"
    )
    Callback.objects.exclude(id=long_ago).update(status="delivered")
    CallbackSecret.objects.create(customer_id=customer_id, secret="whsec_b2xk", expires_at=ids.moment(long_ago))
    said = StringIO()
    call_command("purge", stdout=said)
    assert "1 callbacks deleted." in said.getvalue()
    assert "1 callback secrets deleted." in said.getvalue()
    assert Callback.objects.count() == 2
    assert CallbackSecret.objects.count() == 1
