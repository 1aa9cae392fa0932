"""The OpenAPI document is the code's, is committed, and is served with its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rest_framework.test import APIClient

from apps.sms.requests import SendRequest
from scripts.make_openapi import openapi_text
from smsgateway.errors import GatewayError

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
# Never an answer of this API's operations: the reporting API's, and those that every address may give.
ELSEWHERE = {
    *("statistics_unavailable", "api_key_not_found", "api_key_exists"),
    *("invalid_amount", "invalid_threshold", "reference_used", "form_used"),
}


def all_errors(kind: type[GatewayError] = GatewayError) -> set[str]:
    found = {kind.code} if kind.__module__.startswith(("apps.", "smsgateway.errors")) else set()
    return found.union(*(all_errors(child) for child in kind.__subclasses__()))


def document() -> dict[str, Any]:
    return dict(json.loads(openapi_text()))


def test_the_committed_document_is_the_codes() -> None:
    assert COMMITTED.read_text() == openapi_text(), "run: python -m scripts.make_openapi > docs/openapi.json"


def test_it_is_served_with_its_page(api: APIClient) -> None:
    assert api.get("/v1/openapi.json").json() == document()
    assert b"/docs/redoc.js" in api.get("/docs").content
    assert len(api.get("/docs/redoc.js").content) > 100_000


def test_every_error_code_stands_at_an_operation() -> None:
    text = openapi_text()
    assert {code for code in all_errors() - ELSEWHERE if f'"{code}"' not in text} == set()


def test_every_field_of_a_send_is_described_with_an_example() -> None:
    properties = document()["components"]["schemas"]["SendRequest"]["properties"]
    assert set(properties) == set(SendRequest.__struct_encode_fields__)
    assert all(field["description"] for field in properties.values())


def test_every_operation_has_a_summary_and_problems() -> None:
    for methods in document()["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert {"200", "400", "500", "503"} <= operation["responses"].keys()
