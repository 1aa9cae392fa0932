"""Callback endpoints and their secrets over the API."""

from __future__ import annotations

import datetime as dt
from typing import Any, get_args
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from apps.customers.callback_endpoints import (
    DEFAULT_STATUSES,
    Status,
    secret_rotate,
    secrets_list,
    secrets_live,
)
from apps.customers.models import CallbackEndpoint, CallbackSecret
from apps.sms import statuses
from smsgateway import ids
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
    assert (made["url"], made["statuses"], made["enabled"]) == (URL, list(DEFAULT_STATUSES), True)
    assert (made["disabled_at"], made["disabled_reason"], len(made["secrets"])) == (None, "", 1)
    assert api.get(path(customer_id)).json() == made
    changed = put(api, customer_id, url="https://new.example/", statuses=["delivered", "submitted", "delivered"])
    assert "secret" not in changed.json()
    shown = api.get(path(customer_id)).json()
    assert (shown["url"], shown["statuses"]) == ("https://new.example/", ["delivered", "submitted"])


def test_the_first_put_shows_the_secret_that_a_callback_made_before(api: APIClient, customer_id: UUID) -> None:
    """Callbacks to a message's own URL are signed too, and nobody has seen with what."""
    (made,) = secrets_live(customer_ids=[customer_id])[customer_id]
    assert put(api, customer_id).json()["secret"] == made
    assert "secret" not in put(api, customer_id).json()
    assert "secret" not in api.get(path(customer_id)).json()


def test_every_status_that_is_recorded_can_be_asked_for() -> None:
    beginnings = {statuses.ACCEPTED, statuses.SCHEDULED, statuses.QUEUED}
    assert set(get_args(Status)) == set(statuses.ORDER) - beginnings


def test_the_default_is_every_final_status_and_unknown() -> None:
    expected = [status for status in statuses.ORDER if status in statuses.FINAL | {statuses.UNKNOWN}]
    assert list(DEFAULT_STATUSES) == expected


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
    first = secrets_list(customer_id=customer_id)[1].expires_at
    secret_rotate(customer_id=customer_id)
    assert secrets_list(customer_id=customer_id)[2].expires_at == first


def test_only_the_newest_secrets_are_kept(customer_id: UUID) -> None:
    rotated = [secret_rotate(customer_id=customer_id)[0] for _ in range(8)]
    assert secrets_live(customer_ids=[customer_id])[customer_id] == rotated[:-6:-1]
