"""Bad input is a 400 that names each field and the reason; nothing is charged."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from apps.balance.models import Account
from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]
VALID = {"to": "09121234567", "text": "hello"}


def faults(response: Any) -> set[tuple[str, str]]:
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == "invalid_request"
    assert all(error["reason"] for error in problem["errors"])
    return {(error["field"], error["code"]) for error in problem["errors"]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"text": ""}, {("text", "empty")}),
        ({"text": "x" * 1531}, {("text", "too_long")}),
        ({"text": "a\x00b"}, {("text", "invalid_characters")}),
        ({"text": 5}, {("text", "wrong_type")}),
        ({"text": None}, {("text", "wrong_type")}),
        ({"to": "02122334455"}, {("to", "invalid_number")}),
        ({"to": ["09121234567"]}, {("to", "wrong_type")}),
        ({"to": "09121234567\x00"}, {("to", "invalid_number")}),
        ({"from": "x" * 16}, {("from", "invalid_sender")}),
        ({"from": "a\x00"}, {("from", "invalid_sender")}),
        ({"reference": "x" * 201}, {("reference", "too_long")}),
        ({"reference": "\x00"}, {("reference", "invalid_characters")}),
        ({"customer_id": "42"}, {("customer_id", "invalid_id")}),
        ({"customer_id": 42}, {("customer_id", "wrong_type")}),
        ({"customer_id": 10**30}, {("customer_id", "wrong_type")}),
        ({"amount": 10**30}, {("amount", "unknown_field")}),
        (
            {"text": 5, "to": "x", "from": "x" * 99, "customer_id": "?", "colour": "red"},
            {
                ("text", "wrong_type"),
                ("to", "invalid_number"),
                ("from", "invalid_sender"),
                ("customer_id", "invalid_id"),
                ("colour", "unknown_field"),
            },
        ),
    ],
)
def test_each_wrong_field_is_named(
    make_customer: MakeCustomer, post: Post, change: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    customer_id = make_customer(balance=500)
    response = post("/v1/sms/send", {"customer_id": ids.to_text(customer_id)} | VALID | change)
    assert faults(response) == expected
    assert Account.objects.get(customer_id=customer_id).balance == 500


def test_missing_fields_are_named(db: None, post: Post) -> None:
    assert faults(post("/v1/sms/send", {})) == {("customer_id", "missing"), ("to", "missing"), ("text", "missing")}
    assert faults(post("/v1/sms/batch", {"messages": 3})) == {("customer_id", "missing"), ("messages", "wrong_type")}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ("", "malformed_json")),
        (b"{", ("", "malformed_json")),
        (b"\xff\xfe", ("", "malformed_json")),
        (b"[]", ("", "wrong_type")),
        (b"null", ("", "wrong_type")),
        (b'"text"', ("", "wrong_type")),
        (b"[" * 100_000, ("", "malformed_json")),
        (b'{"customer_id": "x", "to": "09121234567", "text": "\\ud83d"}', ("text", "invalid_characters")),
        (b'{"to": "09121234567", "text": "\xed\xa0\xbd"}', ("text", "invalid_characters")),
        (b'{"text": NaN}', ("text", "wrong_type")),
        (b'{"\\ud800": 1}', ("\\ud800", "unknown_field")),
    ],
)
def test_what_is_no_valid_json_is_told(db: None, post: Post, body: bytes, expected: tuple[str, str]) -> None:
    for path in ("/v1/sms/send", "/v1/sms/batch"):
        found = faults(post(path, body))
        if path.endswith("send"):
            assert expected in found


def test_a_batch_must_have_messages(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = ids.to_text(make_customer())
    body = {"customer_id": customer_id, "messages": []}
    assert faults(post("/v1/sms/batch", body)) == {("messages", "invalid_length")}


def test_other_content_types_are_refused_with_the_mend(db: None, api: APIClient) -> None:
    response = api.generic("POST", "/v1/sms/send", b"<sms/>", content_type="application/xml")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_a_body_over_the_limit_is_refused(db: None, post: Post, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    response = post("/v1/sms/send", b" " * 1001)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_a_gzipped_body_is_taken(make_customer: MakeCustomer, post: Post) -> None:
    body = json.dumps({"customer_id": ids.to_text(make_customer())} | VALID).encode()
    response = post("/v1/sms/send", gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert response.status_code == 200, response.content


@pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b"{}" * 100)[:-9]])
def test_what_is_no_gzip_is_told(db: None, post: Post, body: bytes) -> None:
    response = post("/v1/sms/send", body, **{"Content-Encoding": "gzip"})
    assert faults(response) == {("", "malformed_gzip")}


def test_a_body_that_unpacks_beyond_the_limit_is_refused(db: None, post: Post) -> None:
    response = post("/v1/sms/send", gzip.compress(b" " * 50_000_000), **{"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_other_content_encodings_are_refused(db: None, post: Post) -> None:
    response = post("/v1/sms/send", b"{}", **{"Content-Encoding": "br"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_other_methods_and_addresses_are_problems_too(db: None, api: APIClient) -> None:
    response = api.get("/v1/sms/send")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in response["Allow"]
    response = api.get("/v1/nothing")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response["Content-Type"] == "application/problem+json"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
bodies = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("customer_id", "to", "text", "from", "reference", "messages", "other"), json_values),
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(bodies)
def test_no_document_makes_a_500(db: None, post: Post, body: dict[str, Any]) -> None:
    for path in ("/v1/sms/send", "/v1/sms/batch"):
        response = post(path, json.dumps(body).encode())
        assert response.status_code in {400, 404}, response.content
