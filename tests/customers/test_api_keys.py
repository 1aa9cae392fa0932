"""API keys: shown once, speaking for one customer, revoked within seconds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from apps.customers.keys import key_create, key_revoke
from apps.customers.models import ApiKey
from apps.sms.models import Message
from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]
Mode = Callable[..., None]


@pytest.fixture
def mode(settings: Any) -> Mode:
    def choose(mode: str, *, cache: float = 0.0) -> None:
        keys = dataclasses.replace(settings.CONFIG.api, keys=mode, keys_cache=cache)
        settings.CONFIG = dataclasses.replace(settings.CONFIG, api=keys)

    return choose


def send(post: Post, customer_id: UUID, key: str | None) -> Any:
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi"}
    return post("/v1/sms/send", body, **({} if key is None else {"Authorization": f"Bearer {key}"}))


def test_a_key_is_demanded_where_it_is_required(make_customer: MakeCustomer, post: Post, mode: Mode) -> None:
    customer_id = make_customer()
    _, key = key_create(customer_id=customer_id)
    mode("required")
    refused = send(post, customer_id, None)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_api_key")
    assert refused["WWW-Authenticate"] == "Bearer"
    assert send(post, customer_id, key).status_code == 200


def test_optional_keys_are_checked_when_sent(make_customer: MakeCustomer, post: Post, mode: Mode) -> None:
    customer_id = make_customer()
    mode("optional")
    assert send(post, customer_id, None).status_code == 200
    assert send(post, customer_id, "sgw_00000000_" + "x" * 43).status_code == 401
    mode("off")
    assert send(post, customer_id, "nonsense").status_code == 200


@pytest.mark.parametrize("change", [lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), lambda key: key + "x"])
def test_a_key_must_be_right_to_the_last_character(
    make_customer: MakeCustomer, post: Post, mode: Mode, change: Callable[[str], str]
) -> None:
    customer_id = make_customer()
    _, key = key_create(customer_id=customer_id)
    mode("required")
    assert send(post, customer_id, change(key)).status_code == 401
    assert not Message.objects.filter(customer_id=customer_id).exists()


def test_a_key_speaks_for_its_customer_alone(
    make_customer: MakeCustomer, post: Post, api: APIClient, mode: Mode
) -> None:
    mine, other = make_customer(), make_customer()
    _, key = key_create(customer_id=mine)
    message = send(post, other, None).json()["id"]
    mode("required")
    bearer = {"Authorization": f"Bearer {key}"}
    assert (send(post, other, key).status_code, send(post, other, key).json()["code"]) == (403, "wrong_customer")
    batch = {"customer_id": ids.to_text(other), "messages": [{"to": "09121234567", "text": "hi"}]}
    assert post("/v1/sms/batch", batch, **bearer).status_code == 403
    assert post("/v1/sms/estimate", batch, **bearer).status_code == 403
    assert api.get(f"/v1/customers/{ids.to_text(other)}/balance", headers=bearer).status_code == 403
    assert api.get(f"/v1/customers/{ids.to_text(mine)}/balance", headers=bearer).status_code == 200
    assert api.get(f"/v1/sms/{message}", headers=bearer).json()["code"] == "message_not_found"


def test_a_revoked_key_ends_when_it_is_no_longer_remembered(
    make_customer: MakeCustomer, post: Post, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = make_customer()
    record, key = key_create(customer_id=customer_id)
    now = 1000.0
    monkeypatch.setattr("smsgateway.ttl_cache.time.monotonic", lambda: now)
    mode("required", cache=5.0)
    assert send(post, customer_id, key).status_code == 200
    key_revoke(prefix=record.prefix)
    now += 4.9
    assert send(post, customer_id, key).status_code == 200
    now += 0.2
    assert send(post, customer_id, key).status_code == 401


def test_a_customer_rotates_a_key_without_a_gap(make_customer: MakeCustomer, post: Post, mode: Mode) -> None:
    customer_id = make_customer()
    (old, old_text), (_, new_text) = (key_create(customer_id=customer_id) for _ in range(2))
    mode("required")
    assert [send(post, customer_id, text).status_code for text in (old_text, new_text)] == [200, 200]
    key_revoke(prefix=old.prefix)
    assert [send(post, customer_id, text).status_code for text in (old_text, new_text)] == [401, 200]


def test_the_key_itself_is_kept_nowhere_and_its_use_is(make_customer: MakeCustomer, post: Post, mode: Mode) -> None:
    record, key = key_create(customer_id=make_customer(), label="shop")
    secret = key.rpartition("_")[2]
    assert secret not in str(ApiKey.objects.filter(id=record.id).values())
    assert record.last_used_at is None
    mode("required")
    send(post, record.customer_id, key)
    record.refresh_from_db()
    assert record.last_used_at is not None


def test_the_command_creates_lists_and_revokes(make_customer: MakeCustomer) -> None:
    customer_id = ids.to_text(make_customer())

    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("api_key", *arguments, stdout=out)
        return out.getvalue()

    prefix = run("create", customer_id, "--label", "shop").split("_")[1]
    assert json.loads(run("list", customer_id))["label"] == "shop"
    assert json.loads(run("revoke", prefix))["revoked_at"]
    with pytest.raises(CommandError, match="no such API key"):
        run("revoke", "00000000")
    with pytest.raises(CommandError, match="no such customer"):
        run("create", ids.to_text(ids.new_id()))
