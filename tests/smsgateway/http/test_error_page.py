"""Every row of docs/reference/errors.md is an answer that the gateway gives, and it gives no other."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError
from psycopg.errors import LockNotAvailable
from rest_framework.test import APIClient

from apps.balance.models import LedgerEntry
from apps.customers.callback_endpoints import endpoint_set
from apps.customers.keys import key_create
from apps.customers.models import Customer
from apps.sms.accept import charge_statement as charging
from apps.sms.views import sends
from smsgateway import clickhouse, ids
from smsgateway.clickhouse import ClickHouse, ClickHouseTooSlow
from smsgateway.models import ArchivedPartition
from tests.support.customers import MakeCustomer
from tests.support.error_codes import ELSEWHERE, all_errors
from tests.support.openapi_documents import faults

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "errors.md").read_text()
# What the HTTP server refuses before a view is asked: tests/flow.
OF_THE_SERVER = {"malformed_request", "uri_too_long", "headers_too_large", "request_timeout", "overloaded"}
ROWS = [(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)]
PROBLEMS = [row for row in ROWS if row[1] not in OF_THE_SERVER]
FAULTS = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Codes in")[2], re.MULTILINE)[1:]
TOKEN = {"Authorization": "Bearer development-only"}


class Caller:
    """A customer, and what it takes to get it into trouble."""

    def __init__(
        self, customer_id: UUID, api: APIClient, monkeypatch: pytest.MonkeyPatch, settings: Any, balance: int
    ) -> None:
        self.customer_id = customer_id
        self.balance = balance
        self.api = api
        self.monkeypatch = monkeypatch
        self.settings = settings

    def send(self, path: str = "/v1/sms/send", headers: dict[str, str] | None = None, **change: Any) -> Any:
        body = {"customer_id": ids.to_text(self.customer_id), "to": "09121234567", "text": "hi"} | change
        return self.api.post(path, body, format="json", headers=headers or {})

    def batch(self, **change: Any) -> Any:
        body = {"customer_id": ids.to_text(self.customer_id), "on_insufficient_balance": "partial"} | change
        return self.api.post("/v1/sms/batch", body, format="json")

    def raw(self, body: bytes, content_type: str = "application/json", **headers: str) -> Any:
        return self.api.generic("POST", "/v1/sms/send", body, content_type=content_type, headers=headers)

    def list(self, **parameters: Any) -> Any:
        return self.api.get("/v1/sms", {"customer_id": ids.to_text(self.customer_id)} | parameters)

    def configure(self, group: str, **values: Any) -> None:
        config = self.settings.CONFIG
        changed = dataclasses.replace(getattr(config, group), **values)
        self.settings.CONFIG = dataclasses.replace(config, **{group: changed})

    def break_accept(self, error: Exception) -> Any:
        def broken(**_arguments: object) -> None:
            raise error

        self.monkeypatch.setattr(sends, "messages_accept", broken)
        return self.send()


@pytest.fixture
def caller(make_customer: MakeCustomer, api: APIClient, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Caller:
    return Caller(make_customer(balance=150), api, monkeypatch, settings, 150)


def wrong_customer(caller: Caller) -> Any:
    caller.configure("api", keys="required")
    other = Customer.objects.create(name="Other", segments_per_second=1)
    _, key = key_create(customer_id=other.id)
    return caller.send(headers={"Authorization": f"Bearer {key}"})


def without_key(caller: Caller) -> Any:
    caller.configure("api", keys="required")
    return caller.send()


def suspended(caller: Caller) -> Any:
    Customer.objects.filter(id=caller.customer_id).update(status=Customer.Status.SUSPENDED)
    return caller.send()


def limited(caller: Caller) -> Any:
    Customer.objects.filter(id=caller.customer_id).update(messages_per_minute=1)
    caller.send()
    return caller.send()


def in_progress(caller: Caller) -> Any:
    def locked(*_arguments: object) -> None:
        raise OperationalError("lock timeout") from LockNotAvailable()

    caller.monkeypatch.setattr(charging, "_execute", locked)
    return caller.send(headers={"Idempotency-Key": "k"})


def reused(caller: Caller) -> Any:
    caller.send(headers={"Idempotency-Key": "k"})
    return caller.send(headers={"Idempotency-Key": "k"}, text="other")


def not_cancelable(caller: Caller) -> Any:
    return caller.api.post(f"/v1/sms/{caller.send().json()['id']}/cancel")


def too_large(caller: Caller) -> Any:
    caller.settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    return caller.send()


def endpoint_disabled(caller: Caller) -> Any:
    endpoint_set(customer_id=caller.customer_id, url="https://a.example/", statuses=["delivered"], enabled=False)
    return caller.api.post(f"/v1/customers/{ids.to_text(caller.customer_id)}/callback/test")


def statistics_away(caller: Caller) -> Any:
    caller.settings.ROOT_URLCONF = "smsgateway.urls.reporting"
    away = ClickHouse(
        dataclasses.replace(caller.settings.CONFIG.clickhouse, url="clickhouse://127.0.0.1:1/none", timeout=1)
    )
    caller.monkeypatch.setattr(clickhouse, "default", lambda: away)
    given = {"customer_id": ids.to_text(caller.customer_id), "from": "2026-01-01", "to": "2026-01-02"}
    return caller.api.get("/v1/stats/daily", given)


def reporting(caller: Caller, address: str, **more: Any) -> Any:
    caller.settings.ROOT_URLCONF = "smsgateway.urls.reporting"
    given = {"customer_id": ids.to_text(caller.customer_id), "from": "2026-01-01", "to": "2026-01-02"}
    return caller.api.get(address, given, **more)


def too_slow(caller: Caller) -> Any:
    def stopped(*_asked: object, **_more: object) -> None:
        raise ClickHouseTooSlow("code 159")

    caller.monkeypatch.setattr(ClickHouse, "query", stopped)
    return reporting(caller, "/v1/stats/summary")


def too_many_exports(caller: Caller) -> Any:
    caller.configure("reporting", exports_at_once=0)
    return reporting(caller, "/v1/export")


def statement_archived(caller: Caller) -> Any:
    caller.settings.ROOT_URLCONF = "smsgateway.urls.reporting"
    LedgerEntry.objects.filter(customer_id=caller.customer_id).delete()
    LedgerEntry.objects.create(
        customer_id=caller.customer_id, entry=3, kind="topup", amount=1, balance_after=caller.balance
    )
    LedgerEntry.objects.create(
        customer_id=caller.customer_id, entry=1, kind="topup", amount=1, balance_after=caller.balance
    )
    month = f"{dt.datetime.now(tz=dt.UTC):%Y-%m}"
    return caller.api.get(f"/v1/customers/{ids.to_text(caller.customer_id)}/statement", {"month": month})


def unknown_zone(caller: Caller) -> Any:
    caller.settings.ROOT_URLCONF = "smsgateway.urls.reporting"
    return caller.api.get("/v1/stats/daily", {"tz": "Mars/Olympus"})


def receipt_from_elsewhere(caller: Caller) -> Any:
    caller.configure("mci", receipt_ips=["10.0.0.0/8"])
    return caller.api.post("/v1/operators/mci/receipts", {}, format="json", headers=TOKEN)


def receipt_unsigned(caller: Caller) -> Any:
    caller.configure("mci", receipt_secret="secret")
    return caller.api.post("/v1/operators/mci/receipts", {}, format="json", headers=TOKEN)


def archived(caller: Caller) -> Any:
    day = ids.moment(ids.lowest_id(dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    ArchivedPartition.objects.create(
        partition="sms_message_20200101",
        parent="sms_message",
        low=ids.lowest_id(day),
        high=ids.lowest_id(day + dt.timedelta(days=1)),
        state="archived",
        number=1,
        sealed_at=day,
    )
    return caller.api.get(f"/v1/sms/{ids.to_text(ids.lowest_id(day))}")


def beyond_the_last_partition(caller: Caller) -> Any:
    far = ids.lowest_id(dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=400))
    caller.monkeypatch.setattr(ids, "new_ids", lambda count: [UUID(int=far.int + offset) for offset in range(count)])
    return caller.send()


def another_host(caller: Caller) -> Any:
    caller.settings.ALLOWED_HOSTS = ["sms.example"]
    return caller.api.get("/v1/sms")


HOW: dict[str, Callable[[Caller], Any]] = {
    "unknown_host": another_host,
    "invalid_request": lambda caller: caller.send(text=""),
    "invalid_receipt": lambda caller: caller.api.post("/v1/operators/mci/receipts", {}, format="json", headers=TOKEN),
    "invalid_api_key": without_key,
    "unauthorized": lambda caller: caller.api.post("/v1/operators/mci/receipts", {}, format="json"),
    "invalid_signature": receipt_unsigned,
    "receipt_address_refused": receipt_from_elsewhere,
    "insufficient_balance": lambda caller: caller.send(text="x" * 200),
    "customer_suspended": suspended,
    "wrong_customer": wrong_customer,
    "customer_not_found": lambda caller: caller.send(customer_id=ids.to_text(ids.new_id())),
    "message_not_found": lambda caller: caller.api.get(f"/v1/sms/{ids.to_text(ids.new_id())}"),
    "message_archived": archived,
    "partition_missing": beyond_the_last_partition,
    "operator_not_found": lambda caller: caller.api.post("/v1/operators/nobody/receipts", {}, format="json"),
    "not_found": lambda caller: caller.api.get("/v1/nothing"),
    "method_not_allowed": lambda caller: caller.api.get("/v1/sms/send"),
    "callback_endpoint_not_found": lambda caller: caller.api.get(
        f"/v1/customers/{ids.to_text(caller.customer_id)}/callback"
    ),
    "callback_endpoint_disabled": endpoint_disabled,
    "callback_not_found": lambda caller: caller.api.post(f"/v1/callbacks/{ids.to_text(ids.new_id())}/replay"),
    "request_in_progress": in_progress,
    "not_cancelable": not_cancelable,
    "body_too_large": too_large,
    "unsupported_media_type": lambda caller: caller.raw(b"<sms/>", "application/xml"),
    "idempotency_key_reused": reused,
    "rate_limited": limited,
    "internal_error": lambda caller: caller.break_accept(RuntimeError("broken")),
    "database_unavailable": lambda caller: caller.break_accept(OperationalError("away")),
    "statistics_unavailable": statistics_away,
    "query_too_slow": too_slow,
    "too_many_exports": too_many_exports,
    "http_version_too_old": lambda caller: reporting(caller, "/v1/export", SERVER_PROTOCOL="HTTP/1.0"),
    "statement_archived": statement_archived,
}
FAULTY: dict[str, Callable[[Caller], Any]] = {
    "missing": lambda caller: caller.raw(b"{}"),
    "unknown_field": lambda caller: caller.send(colour="red"),
    "unknown": lambda caller: caller.list(colour="red"),
    "repeated": lambda caller: caller.list(limit=["1", "2"]),
    "wrong_type": lambda caller: caller.send(text=5),
    "malformed_json": lambda caller: caller.raw(b"{"),
    "malformed_gzip": lambda caller: caller.raw(b"{}", **{"Content-Encoding": "gzip"}),
    "invalid_id": lambda caller: caller.send(customer_id="42"),
    "invalid_number": lambda caller: caller.send(to="021"),
    "invalid_characters": lambda caller: caller.send(text="\x00"),
    "invalid_value": lambda caller: caller.send(priority="urgent"),
    "invalid_time": lambda caller: caller.send(send_at="tomorrow"),
    "invalid_url": lambda caller: caller.send(callback_url="ftp://shop.example"),
    "invalid_key": lambda caller: caller.send(headers={"Idempotency-Key": "a b"}),
    "invalid_length": lambda caller: caller.batch(messages=[]),
    "invalid": lambda caller: caller.list(limit="0"),
    "no_offset": lambda caller: caller.list(to="2026-01-01T00:00:00"),
    "unknown_zone": unknown_zone,
    "range_too_long": lambda caller: caller.list(**{"from": "2020-01-01"}),
    "empty": lambda caller: caller.send(text=""),
    "too_long": lambda caller: caller.send(reference="x" * 201),
    "out_of_range": lambda caller: caller.send(send_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC).isoformat()),
    "invalid_sender": lambda caller: caller.send(**{"from": "فروشگاه"}),
    "not_gsm7": lambda caller: caller.send(text="س", encoding="gsm7"),
    "too_many_segments": lambda caller: caller.send(text="x" * 200, max_segments=1),
    "insufficient_balance": lambda caller: caller.batch(to=["09121234567"] * 2, text="x"),
}


def test_the_page_lists_every_error() -> None:
    assert {code for _, code in ROWS} == HOW.keys() | OF_THE_SERVER
    # Of management commands and the console.
    not_told = {
        "api_key_not_found",
        "api_key_exists",
        "invalid_amount",
        "invalid_threshold",
        "reference_used",
        "form_used",
    }
    assert HOW.keys() == (all_errors() - not_told - OF_THE_SERVER) | {"method_not_allowed"}
    assert not_told < ELSEWHERE
    assert set(FAULTS) == FAULTY.keys()


@pytest.mark.parametrize(("status", "code"), PROBLEMS, ids=lambda value: str(value))
def test_each_problem_is_returned(caller: Caller, status: int, code: str) -> None:
    response = HOW[code](caller)
    assert response["Content-Type"] == "application/problem+json"
    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response["X-Request-ID"]
    assert faults({"$ref": "#/components/schemas/Problem"}, document, closed=True) == []


@pytest.mark.parametrize("code", FAULTS)
def test_each_field_error_is_returned(caller: Caller, code: str) -> None:
    answer = FAULTY[code](caller).json()
    refused = [result for result in answer.get("results", []) if result["status"] == "refused"]
    found = answer["errors"] if "errors" in answer else refused[0]["errors"]
    assert [fault["code"] for fault in found if fault["code"] == code], found
    assert all(fault["reason"] for fault in found)


def test_the_code_has_no_other_field_error() -> None:
    root = Path(__file__).parents[3]
    codes: set[str] = set()
    rooms = ("apps/customers", "apps/sms", "apps/reporting", "smsgateway")
    for path in (path for room in rooms for path in (root / room).rglob("*.py")):
        source = path.read_text()
        codes |= set(re.findall(r'\b(?:fault|refuse)\(\s*[^,()"]*(?:"[^"]*")?,\s*"(\w+)"', source))
        codes |= set(re.findall(r'Wrong\(\s*"(\w+)"', source))
    assert codes <= set(FAULTS)
    assert len(codes) > 15
