"""A key speaks for its customer alone on the reporting API, in a header or in the dashboard's session."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.test import Client, override_settings

from apps.customers.keys import key_create, key_revoke
from apps.reporting.views.session import COOKIE
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse
from tests.support.customers import MakeCustomer

Mode = Callable[[str], None]
RANGE = {"from": "2026-03-05", "to": "2026-03-06"}


@pytest.fixture
def client(database: ClickHouse, db: None) -> Iterator[Client]:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


@pytest.fixture
def mode(settings: Any) -> Mode:
    def choose(mode: str) -> None:
        keys = dataclasses.replace(settings.CONFIG.api, keys=mode, keys_cache=0.0)
        settings.CONFIG = dataclasses.replace(settings.CONFIG, api=keys)

    return choose


@pytest.fixture
def mine(make_customer: MakeCustomer) -> UUID:
    return make_customer()


@pytest.fixture
def other(make_customer: MakeCustomer) -> UUID:
    return make_customer()


def addresses(customer_id: UUID) -> list[tuple[str, dict[str, str]]]:
    text = ids.to_text(customer_id)
    return [
        ("/v1/stats/minute", RANGE | {"customer_id": text}),
        ("/v1/stats/daily", RANGE | {"customer_id": text}),
        ("/v1/stats/summary", RANGE | {"customer_id": text}),
        ("/v1/export", RANGE | {"customer_id": text}),
        (f"/v1/customers/{text}/statement", {"month": "2026-03"}),
    ]


def status_of(response: Any) -> int:
    if response.streaming:  # an export keeps its place until its end
        assert b"".join(response.streaming_content)
    return int(response.status_code)


def test_every_url_requires_a_key_and_shows_its_own_customer_only(
    client: Client, mode: Mode, mine: UUID, other: UUID
) -> None:
    _, key = key_create(customer_id=mine)
    bearer = {"Authorization": f"Bearer {key}"}
    mode("required")
    for (address, asked), (others, of_other) in zip(addresses(mine), addresses(other), strict=True):
        refused = client.get(address, asked)
        assert (refused.status_code, refused.json()["code"], refused["WWW-Authenticate"]) == (
            401,
            "invalid_api_key",
            "Bearer",
        )
        wrong = client.get(others, of_other, headers=bearer)
        assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_customer")
        assert status_of(client.get(address, asked, headers=bearer)) == 200
        assert status_of(client.get(address, asked, headers={"Authorization": "Bearer sgw_x"})) == 401


def test_with_a_key_the_customer_id_is_optional(client: Client, mode: Mode, mine: UUID) -> None:
    _, key = key_create(customer_id=mine)
    bearer = {"Authorization": f"Bearer {key}"}
    mode("optional")
    for address in ("/v1/stats/minute", "/v1/stats/daily", "/v1/stats/summary"):
        assert client.get(address, RANGE, headers=bearer).json()["customer_id"] == ids.to_text(mine)
    assert status_of(client.get("/v1/export", RANGE, headers=bearer)) == 200
    assert status_of(client.get("/v1/export", RANGE)) == 400
    assert client.get("/v1/stats/summary", RANGE).json()["customer_id"] is None


def open_session(client: Client, key: str) -> Any:
    return client.post("/session", json.dumps({"key": key}), content_type="application/json")


def test_a_session_speaks_for_its_keys_customer_until_the_key_is_revoked(
    client: Client, mode: Mode, mine: UUID, other: UUID
) -> None:
    record, key = key_create(customer_id=mine)
    mode("required")
    assert b"sign-in" in client.get("/").content
    opened = open_session(client, key)
    assert opened.json() == {"customer_id": ids.to_text(mine)}
    cookie = opened.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
    assert key not in cookie.value
    assert key.rpartition("_")[2] not in cookie.value

    assert ids.to_text(mine).encode() in client.get("/").content
    assert client.get("/v1/stats/summary", RANGE).json()["customer_id"] == ids.to_text(mine)
    wrong = client.get("/v1/stats/summary", RANGE | {"customer_id": ids.to_text(other)})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_customer")

    key_revoke(prefix=record.prefix)
    assert client.get("/v1/stats/summary", RANGE).status_code == 401
    assert b"sign-in" in client.get("/").content


def test_a_session_ends_when_it_is_closed_and_cannot_be_made_up(client: Client, mode: Mode, mine: UUID) -> None:
    record, key = key_create(customer_id=mine)
    mode("required")
    open_session(client, key)
    client.delete("/session")
    assert client.get("/v1/stats/summary", RANGE).status_code == 401
    client.cookies[COOKIE] = f'"{record.prefix}":1:forged'
    assert client.get("/v1/stats/summary", RANGE).status_code == 401


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ('{"key": "sgw_00000000_' + "x" * 43 + '"}', "application/json", 401),
        ('{"key": 1}', "application/json", 400),
        ("key=sgw_", "application/x-www-form-urlencoded", 401),
        ('{"key": "x"}', "text/plain", 401),
    ],
)
def test_no_session_is_opened_without_a_key_or_by_a_form_of_another_site(
    client: Client, mode: Mode, mine: UUID, body: str, content_type: str, status: int
) -> None:
    mode("required")
    answer = client.post("/session", body, content_type=content_type)
    assert answer.status_code == status
    assert COOKIE not in answer.cookies


def test_the_service_is_ready_when_what_it_needs_is_there(
    client: Client, mode: Mode, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    general = dataclasses.replace(settings.CONFIG.general, service="reporting")
    settings.CONFIG = dataclasses.replace(settings.CONFIG, general=general)
    assert client.get("/readyz").json() == {"clickhouse": "ok"}
    mode("required")
    assert client.get("/readyz").json() == {"clickhouse": "ok", "database": "ok"}


def test_without_keys_the_page_shows_all_and_asks_nothing(client: Client) -> None:
    page = client.get("/")
    assert b"All customers" in page.content
    policy = page["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_the_pages_files_are_served_from_here_with_their_tags(client: Client) -> None:
    page = client.get("/").content.decode()
    for name in ("dashboard.js", "dashboard.css", "uPlot.iife.min.js", "uPlot.min.css", "mark.svg"):
        assert f"/static/{name}" in page
        found = client.get(f"/static/{name}")
        assert found.status_code == 200
        assert client.get(f"/static/{name}", headers={"If-None-Match": found["ETag"]}).status_code == 304
    assert "MIT" in client.get("/static/uPlot.LICENSE.txt").content.decode()
    assert client.get("/static/urls.py").status_code == 404
