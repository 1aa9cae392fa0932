"""What callers read when a value is wrong: the field, the form that it must have, and no word of Python or msgspec."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rest_framework.test import APIClient

from apps.customers.requests import EndpointRequest
from apps.sms import statuses
from apps.sms.accept.requests import BatchRequest, BroadcastRequest, MessageRequest, SendRequest
from apps.sms.operators.irancell import client as irancell
from apps.sms.operators.mci import client as mci
from smsgateway import ids
from smsgateway.http import value_forms
from tests.support.customers import MakeCustomer

INTERNALS = re.compile(
    r"\b(?:int|float|str|dict|bool|bytes|datetime|NoneType|None|True|False|array|object of|decimal|enum|Expected|got"
    r"|Invalid enum|msgspec|Raw|UNSET|codec|Traceback|Errno|Literal|Meta|convert|decod\w+|recursion|RFC3339)\b"
    r"|\$\.|\$\[|`\$|\bat `"
)
WRONG: list[Any] = [
    None, True, False, 0, -1, 7, 10**9, 10**30, -(10**30), 1.5, -0.0, 1e300,
    "", " ", "x", "\x00", "\u202e", "x" * 3000, "5", "2030-01-31", "2030-01-31T08:00:00", "2030-13-31T08:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", [], [None], [1], ["x"], [[]], [{}], ["x"] * 30,
    {}, {"a": 1}, {"a": None}, {"": "b"}, {"a" * 41: "b"}, {"a": "b" * 501},
    {"a": {"b": {}}}, {f"k{number}": "v" for number in range(21)},
]  # fmt: skip
CHOICES = "canceled, delivered, expired, failed, rejected, submitted, undelivered, unknown"
MESSAGE = {
    "to": "a string",
    "text": "a string",
    "from": "a string",
    "reference": "a string of at most 200 characters",
    "send_at": "a time with its offset from UTC, such as 2030-01-31T08:00:00Z",
    "valid_for": "a whole number from 1 to 604800",
    "priority": "one of bulk, normal, otp",
    "encoding": "one of auto, gsm7, ucs2",
    "transliterate": "true or false",
    "max_segments": "a whole number from 1 to 255",
    "callback_url": "a string of at most 2048 characters",
    "metadata": "a JSON object",
}
OWNER = {"customer_id": "a string"}
PARTIAL = {"on_insufficient_balance": "one of partial, refuse"}
MCI = {
    "reference": "a ULID",
    "messageId": "1 to 64 characters",
    "status": "one of DELIVRD, EXPIRED, REJECTD, UNDELIV",
    "doneAt": "a whole number",
    "error": "at most 64 printable characters",
}
IRANCELL = {
    "clientRef": "a ULID",
    "id": "1 to 64 characters",
    "state": "one of 2, 3, 5, 8",
    "ts": "a whole number",
    "err": "at most 64 printable characters",
}
FORM_CODES = {"wrong_type", "invalid_value", "invalid_time", "out_of_range", "invalid"}


@dataclasses.dataclass(frozen=True)
class Body:
    """A kind of request: its struct, the form of each field, and how one with this change is sent."""

    kind: type[msgspec.Struct]
    forms: dict[str, str]
    send: Callable[[APIClient, str, dict[str, Any]], Any]


def to(path: str, **valid: Any) -> Callable[[APIClient, str, dict[str, Any]], Any]:
    def send(api: APIClient, customer_id: str, change: dict[str, Any]) -> Any:
        return post(api, path, {"customer_id": customer_id} | valid | change)

    return send


def post(api: APIClient, path: str, document: object, method: str = "POST") -> Any:
    body = json.dumps(document).encode()
    return api.generic(method, path, body, content_type="application/json", headers=TOKEN)


def in_a_batch(api: APIClient, customer_id: str, change: dict[str, Any]) -> Any:
    messages = [{"to": "09121234567", "text": "hi"} | change]
    return post(api, "/v1/sms/batch", {"customer_id": customer_id, "messages": messages})


def to_endpoint(api: APIClient, customer_id: str, change: dict[str, Any]) -> Any:
    url = f"/v1/customers/{customer_id}/callback"
    return post(api, url, {"url": "https://shop.example/"} | change, "PUT")


def receipt(operator: str, **valid: Any) -> Callable[[APIClient, str, dict[str, Any]], Any]:
    def send(api: APIClient, _customer_id: str, change: dict[str, Any]) -> Any:
        return post(api, f"/v1/operators/{operator}/receipts", valid | change)

    return send


TOKEN = {"Authorization": "Bearer development-only"}
REFERENCE = ids.to_text(ids.new_id())
BODIES = [
    Body(SendRequest, OWNER | MESSAGE, to("/v1/sms/send", to="09121234567", text="hi")),
    Body(MessageRequest, MESSAGE, in_a_batch),
    Body(BatchRequest, OWNER | PARTIAL | {"messages": "a list"}, to("/v1/sms/batch", messages=[])),
    Body(BroadcastRequest, OWNER | PARTIAL | MESSAGE | {"to": "a list"}, to("/v1/sms/batch", to=["x"], text="hi")),
    Body(
        EndpointRequest,
        {"url": "a string", "statuses": f"one of {CHOICES}|a list", "enabled": "true or false"},
        to_endpoint,
    ),
    Body(mci._Receipt, MCI, receipt("mci", reference=REFERENCE, messageId="7", status="DELIVRD", doneAt=10**12 * 2)),
    Body(irancell._Receipt, IRANCELL, receipt("irancell", clientRef=REFERENCE, id="7", state=2, ts=10**9)),
]


def reasons(response: Any) -> Iterator[dict[str, str]]:
    """All that an answer says is wrong."""
    answer = response.json()
    yield from answer.get("errors", [])
    for result in answer.get("results", []):
        yield from result.get("errors", [])


@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body.kind.__module__.split('.')[-2]}.{body.kind.__name__}")
def test_wrong_values_are_refused_with_their_field_and_its_form(
    make_customer: MakeCustomer, api: APIClient, body: Body
) -> None:
    customer_id = ids.to_text(make_customer())
    fields = body.kind.__struct_encode_fields__
    assert set(fields) == body.forms.keys()
    refused = 0
    for name in fields:
        for value in WRONG:
            response = body.send(api, customer_id, {name: value})
            assert response.status_code in {200, 400, 404}, (name, value, response.content)
            assert not INTERNALS.search(response.content.decode()), (name, value, response.content)
            for error in reasons(response):
                assert error["field"] in (name, "to", "text", "messages", "from", ""), (name, value, error)
                assert error["reason"].endswith("."), error
                if error["field"] == name and error["code"] in FORM_CODES and "Item" not in error["reason"]:
                    form = body.forms[name].split("|")
                    said = error["reason"]
                    assert any(one in said for one in form) or judged(name, value, said), (value, error)
                refused += error["field"] == name
    assert refused > 10 * len(fields)


def judged(name: str, value: object, said: str) -> bool:
    """Whether a value of the right type is refused for what it means: its reason says more than the form."""
    meaning = {"send_at": "in the future", "metadata": "entry", "statuses": "item", "to": "item"}
    return name in meaning and meaning[name] in said


def test_missing_and_unknown_fields_are_refused_without_internals(db: None, api: APIClient) -> None:
    for path, known in (
        ("/v1/sms/send", "customer_id"),
        ("/v1/sms/batch", "messages"),
        ("/v1/operators/mci/receipts", "messageId"),
    ):
        response = post(api, path, {"colour": 1, "b'": 2, "\u200b": 3})
        assert response.status_code == 400
        assert not INTERNALS.search(response.content.decode()), response.content
        assert (known, "missing") in {(error["field"], error["code"]) for error in reasons(response)}


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"}", b"nul", b'"', b"[1,]", b"{1: 2}", b"[" * 5000, b"1 2", b"'", b"NaN", b"\x00",
        b'{"text": "\xff"}', b'{"text": "\\ud83d"}', b'{"text": "\\x"}', b'{"text": Infinity}', b"\xff\xfe{\x00",
        b'{"customer_id": ' + b"9" * 5000 + b"}", b'{"a": 1e999}', b'{"valid_for": ' + b"9" * 5000 + b"}",
        b'{"valid_for": 1e999}', b'{"valid_for": NaN}', b'{"valid_for": -0}',
    ],
)  # fmt: skip
def test_bodies_that_are_not_json_are_refused_without_internals(db: None, api: APIClient, body: bytes) -> None:
    calls = [("POST", f"/v1/sms/{name}") for name in ("send", "batch", "estimate")]
    calls += [("POST", "/v1/operators/mci/receipts"), ("POST", "/v1/operators/irancell/receipts")]
    calls.append(("PUT", f"/v1/customers/{ids.to_text(ids.new_id())}/callback"))
    for method, path in calls:
        response = api.generic(method, path, body, content_type="application/json", headers=TOKEN)
        assert response.status_code == 400, (path, response.content)
        assert not INTERNALS.search(response.content.decode()), (path, response.content)
        assert all(error["reason"] for error in reasons(response))


@pytest.mark.parametrize("path", ["/session"])
def test_the_dashboards_session_answers_without_internals(api: APIClient, settings: Any, path: str) -> None:
    settings.ROOT_URLCONF = "smsgateway.urls.reporting"
    for body in (b"", b"{}", b'{"key": 5}', b"[" * 5000, b'{"key": "\xff"}'):
        response = api.generic("POST", path, body, content_type="application/json")
        assert response.status_code == 400, response.content
        assert not INTERNALS.search(response.content.decode()), response.content


PARAMETERS = [
    "", " ", "x", "\x00", "-1", "0", "1.5", "9" * 40, "null", "2026-13-01", "2026-01-01T00:00", "0001-01-01", "é" * 200,
    "[]", "🙂",
]  # fmt: skip
CURSORS = [base64.urlsafe_b64encode(bytes).decode().rstrip("=") for bytes in (b"\xff" * 16, b"\x80" + b"\0" * 15)]
LISTS = {
    "api": {
        "/v1/sms": ("customer_id", "status", "recipient", "reference", "from", "to", "limit", "cursor", "colour"),
        "/v1/customers/{id}/transactions": ("kind", "from", "to", "limit", "cursor", "colour"),
        "/v1/customers/{id}/callbacks": ("message_id", "status", "from", "to", "limit", "cursor"),
    },
    "reporting": {
        "/v1/stats/daily": ("customer_id", "from", "to", "operator", "tz", "fill", "colour"),
        "/v1/stats/minute": ("from", "to"),
        "/v1/stats/summary": ("group_by", "from", "to", "fill", "delays", "operator", "tz"),
        "/v1/export": ("format", "status", "operator", "gzip", "from", "to"),
        "/v1/customers/{id}/statement": ("month", "tz"),
    },
}


@pytest.mark.parametrize("service", ["api", "reporting"])
def test_wrong_parameters_are_refused_with_their_name(
    make_customer: MakeCustomer, api: APIClient, settings: Any, service: str
) -> None:
    settings.ROOT_URLCONF = f"smsgateway.urls.{service}"
    customer_id = ids.to_text(make_customer())
    for path, names in LISTS[service].items():
        own = {} if "{id}" in path else {"customer_id": customer_id}
        for name in names:
            # `nothing` is a parameter that no address has: so the question is refused whatever the value.
            for value in [*PARAMETERS, *CURSORS]:
                response = api.get(path.format(id=customer_id), own | {name: value, "nothing": "1"})
                assert response.status_code == 400, (path, name, value, response.content)
                assert not INTERNALS.search(response.content.decode()), (path, name, value, response.content)
                for error in reasons(response):
                    assert error["field"] in {name, "nothing", "from", "to", "month"}, (path, name, value, error)
            if service == "api":
                for value in CURSORS:
                    response = api.get(path.format(id=customer_id), own | {"cursor": value})
                    assert response.status_code == 200, (path, response.content)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/sms/abc", "'abc' is not a message id"),
        ("/v1/sms/01M85WEYCNSSN7STBNMSVHQ0Y!", "is not a message id"),
        ("/v1/sms/01M85WEYCNSSN7STBNMSVHQ0YU8", "is not a message id"),
        ("/v1/sms/8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "is not a message id"),
        ("/v1/sms/%D8%B3/cancel", r"'\\u0633' is not a message id"),
        ("/v1/customers/42/balance", "'42' is not a customer id"),
        ("/v1/customers/42/callback", "'42' is not a customer id"),
        ("/v1/callbacks/x/replay", "'x' is not a callback id"),
    ],
)
def test_a_malformed_id_in_a_path_is_named(db: None, api: APIClient, path: str, named: str) -> None:
    response = api.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert named in response.json()["detail"]
    assert "26 letters and digits" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/sms/abc/nothing", "/v1/sms/send/", "/v2/sms", "/" + "a/" * 3000])
def test_an_unknown_path_is_not_reported_as_a_malformed_id(db: None, api: APIClient, path: str) -> None:
    response = api.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert "No resource has this path" in response.json()["detail"]


def test_a_405_lists_the_allowed_methods(db: None, api: APIClient) -> None:
    some_id = ids.to_text(ids.new_id())
    for path, method in (
        ("/v1/sms/send", "POST"),
        ("/v1/sms", "GET"),
        (f"/v1/sms/{some_id}/cancel", "POST"),
        (f"/v1/customers/{some_id}/callback", "GET, PUT"),
        ("/v1/operators/mci/receipts", "POST"),
    ):
        for other in ("DELETE", "PATCH", "TRACE", "BREW"):
            response = api.generic(other, path)
            assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
            assert method in response.json()["detail"]
            assert method in response["Allow"]
        assert api.options(path).status_code < 500
        assert api.head(path).status_code < 500


def test_the_page_of_the_api_lists_every_status() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "api.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page.partition("| status | meaning |")[2].partition("\n\n")[0], re.MULTILINE)
    assert sorted(rows) == sorted(statuses.ORDER)


def test_the_form_of_every_field_is_described_without_internals() -> None:
    for body in BODIES:
        for field in msgspec.structs.fields(body.kind):
            said = value_forms.form(msgspec.inspect.type_info(field.type))
            assert not INTERNALS.search(said), said
            assert any(one in said for one in body.forms[field.encode_name].split("|")) or said.startswith("a list")
