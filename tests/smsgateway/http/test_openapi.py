"""The OpenAPI document is the code's, is committed, and is served with its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.sms.accept.requests import SendRequest
from scripts.make_openapi import openapi_text
from tests.support.error_codes import ELSEWHERE, REPORTING, all_errors

DOCS = Path(__file__).parents[3] / "docs"


def document(service: str = "api") -> dict[str, Any]:
    return dict(json.loads(openapi_text(service)))


@pytest.mark.parametrize(("service", "name"), [("api", "openapi.json"), ("reporting", "openapi-reporting.json")])
def test_the_committed_document_is_the_codes(service: str, name: str) -> None:
    made = openapi_text(service)
    assert (DOCS / name).read_text() == made, f"run: python -m scripts.make_openapi {service} > docs/{name}"


@pytest.mark.parametrize("service", ["api", "reporting"])
def test_it_is_served_with_its_page(api: APIClient, settings: Any, service: str) -> None:
    settings.ROOT_URLCONF = f"smsgateway.urls.{service}"
    assert api.get("/v1/openapi.json").json() == document(service)
    assert b"/docs/redoc.js" in api.get("/docs").content
    assert len(api.get("/docs/redoc.js").content) > 100_000


def test_every_error_code_stands_at_an_operation() -> None:
    text, reporting = openapi_text(), openapi_text("reporting")
    assert {code for code in all_errors() - ELSEWHERE if f'"{code}"' not in text} == set()
    assert {code for code in REPORTING if f'"{code}"' not in reporting} == set()


def test_every_field_of_a_send_is_described_with_an_example() -> None:
    properties = document()["components"]["schemas"]["SendRequest"]["properties"]
    assert set(properties) == set(SendRequest.__struct_encode_fields__)
    assert all(field["description"] for field in properties.values())


@pytest.mark.parametrize("service", ["api", "reporting"])
def test_every_operation_has_a_summary_and_problems(service: str) -> None:
    for methods in document(service)["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert {"200", "400", "500", "503"} <= operation["responses"].keys()


@pytest.mark.parametrize("name", ["openapi.json", "openapi-reporting.json"])
def test_every_amount_says_that_it_is_in_minor_units(name: str) -> None:
    schemas = json.loads((DOCS / name).read_text())["components"]["schemas"]
    amounts = {"cost", "balance", "balance_after", "amount", "refunded", "opening_balance", "closing_balance"}
    found = 0
    for schema in schemas.values():
        for field, described in schema.get("properties", {}).items():
            if field in amounts:
                found += 1
                assert "minor units" in described["description"], (schema.get("title"), field)
    assert found >= 5
