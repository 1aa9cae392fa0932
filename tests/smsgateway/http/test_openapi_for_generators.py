"""The OpenAPI documents have the form from which generators make clients that work, and say what is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.customers.callback_endpoints import Status
from apps.sms import statuses
from apps.sms.callbacks.payload import event_type
from apps.sms.models import Callback
from apps.sms.views.openapi.schemas import MessageStatus
from smsgateway import errors, ids
from smsgateway.http.openapi.operations import DESCRIBED, KINDS
from tests.support.openapi_documents import SERVICES, document, faults, operations, parts

EACH = pytest.mark.parametrize("service", SERVICES)
MOMENTS = {
    "accepted_at", "archived_at", "at", "created_at", "disabled_at", "expires_at", "hour", "last_attempt_at", "minute",
    "next_attempt_at", "previous_valid_until", "send_at", "timestamp",
}  # fmt: skip
RANGES = {"StatsAnswer", "SummaryAnswer", "StatementAnswer"}
AMOUNTS = {
    "amount", "balance", "balance_after", "closing_balance", "cost", "opening_balance", "refunded", "threshold",
}  # fmt: skip


def types(schema: dict[str, Any]) -> set[str]:
    found = schema.get("type", [])
    return {found} if isinstance(found, str) else set(found)


@EACH
def test_every_enum_has_its_type(service: str) -> None:
    enums = [(path, part) for path, part in parts(document(service)) if isinstance(part.get("enum"), list)]
    assert [path for path, part in enums if not types(part)] == []


@EACH
def test_every_schema_has_a_description(service: str) -> None:
    known = {"type", "$ref", "oneOf", "anyOf"}
    for path, part in parts(document(service)):
        for name, schema in part.get("properties", {}).items() if isinstance(part.get("properties"), dict) else ():
            assert known & schema.keys(), f"{path}/{name}"
        if "array" in types(part):
            assert known & part["items"].keys(), path


@EACH
def test_a_body_is_required_and_has_a_name(service: str) -> None:
    for _, _, operation in operations(service):
        if body := operation.get("requestBody"):
            assert body["required"] is True
            assert body["content"]["application/json"]["schema"].keys() == {"$ref"}, operation["operationId"]


def test_the_two_forms_of_a_batch_are_one_named_schema() -> None:
    schemas = document()["components"]["schemas"]
    names = [part["$ref"].rpartition("/")[2] for part in schemas["BatchBody"]["oneOf"]]
    assert names == ["BatchRequest", "BroadcastRequest"]
    assert schemas["BatchRequest"]["properties"]["messages"]["items"] == {"$ref": "#/components/schemas/MessageRequest"}
    assert schemas["BroadcastRequest"]["properties"]["to"]["items"]["type"] == "string"


@EACH
def test_no_field_of_a_body_has_a_default(service: str) -> None:
    # openapi-typescript makes a field with a default required.
    schemas = document(service)["components"]["schemas"]
    assert [path for path, part in parts(schemas) if "default" in part] == []
    priority = document()["components"]["schemas"]["SendRequest"]["properties"]["priority"]
    assert "Default: `normal`." in priority["description"]


def fields(service: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Of every schema: its name, and each field with its schema."""
    for name, schema in document(service)["components"]["schemas"].items():
        for field, found in schema.get("properties", {}).items():
            yield name, field, found


@EACH
def test_times_and_amounts_are_typed(service: str) -> None:
    seen = set()
    for name, field, schema in fields(service):
        # `from` and `to` of a message are a sender and a number.
        if field in MOMENTS or (field in ("from", "to") and name in RANGES):
            assert schema["format"] == "date-time", f"{name}.{field}"
            seen.add(field)
        if field in AMOUNTS:
            assert schema["format"] == "int64", f"{name}.{field}"
            assert "minor units" in schema["description"], f"{name}.{field}"
            seen.add(field)
    assert {"accepted_at", "balance"} <= seen
    for _, _, operation in operations(service):
        for parameter in operation["parameters"]:
            if parameter["in"] == "query" and parameter["name"] in ("from", "to"):
                assert parameter["schema"]["format"] == "date-time"


@EACH
def test_every_time_of_a_struct_has_an_offset(service: str) -> None:
    # msgspec leaves the format out of the schema unless the type says that the time has its offset.
    document(service)
    assert {"Problem"} <= {kind.__name__ for kind in KINDS}
    assert [kind for kind in KINDS if "DateTimeType(tz=None)" in repr(msgspec.inspect.type_info(kind))] == []


def test_the_enums_are_those_of_the_code() -> None:
    assert tuple(MessageStatus) == statuses.ORDER
    others = [value for name, value in vars(Callback).items() if name.isupper() and isinstance(value, str)]
    assert {Callback.LOW_BALANCE, Callback.TEST} <= set(others)
    events = {event_type(event) for event in (*get_args(Status), *others)}
    schemas = document()["components"]["schemas"]
    assert set(schemas["CallbackEntry"]["properties"]["type"]["enum"]) == events
    bodies = [item["post"]["requestBody"]["content"]["application/json"] for item in document()["webhooks"].values()]
    assert {kind for body in bodies for kind in body["schema"]["properties"]["type"]["enum"]} == events


@EACH
def test_null_is_a_type_and_not_a_branch(service: str) -> None:
    for path, part in parts(document(service)["components"]["schemas"]):
        branches = part.get("anyOf") if isinstance(part.get("anyOf"), list) else []
        simple = [branch for branch in branches if "type" in branch and branch != {"type": "null"}]
        assert not ({"type": "null"} in branches and simple), path


@EACH
def test_operations_are_verbs_with_a_noun_and_every_tag_is_described(service: str) -> None:
    names = [operation["operationId"] for _, _, operation in operations(service)]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name)] == []
    made = document(service)
    webhooks = {tag for item in made.get("webhooks", {}).values() for tag in item["post"]["tags"]}
    tags = {tag for _, _, operation in operations(service) for tag in operation["tags"]}
    assert webhooks.isdisjoint(tags)
    assert {tag["name"] for tag in made["tags"] if tag["description"]} == tags | webhooks
    assert made["servers"][0]["url"] == "/"
    for _, _, operation in operations(service):
        links = operation["responses"]["200"].get("links", {})
        assert {link["operationId"] for link in links.values()} <= set(names)


@EACH
def test_every_response_names_its_headers(service: str) -> None:
    components = document(service)["components"]["headers"]
    for _, _, operation in operations(service):
        described = DESCRIBED[operation["operationId"]]
        for status, response in operation["responses"].items():
            headers = response["headers"]
            assert "X-Request-ID" in headers
            retryable = any(kind.retryable for kind in described.problems if kind.status == int(status))
            assert ("Retry-After" in headers) is retryable, f"{operation['operationId']} {status}"
            assert ("WWW-Authenticate" in headers) is (status == "401")
            for header in headers.values():
                assert components[header["$ref"].rpartition("/")[2]]["schema"]["type"]


@EACH
def test_every_problem_is_typed_and_its_code_is_known(service: str) -> None:
    codes = document(service)["components"]["schemas"]["Problem"]["properties"]["code"]
    assert "enum" not in codes, "a new code would break clients that know the old ones"
    for _, _, operation in operations(service):
        for status, response in operation["responses"].items():
            if status != "200":
                media = response["content"]["application/problem+json"]
                assert media["schema"] == {"$ref": "#/components/schemas/Problem"}
                assert {part["value"]["code"] for part in media["examples"].values()} <= set(codes["x-extensible-enum"])
    assert errors.GatewayError.code in codes["x-extensible-enum"]


@EACH
def test_every_example_fits_its_schema(service: str) -> None:
    seen = 0
    for path, part in parts(document(service)):
        examples = part.get("examples")
        if isinstance(examples, dict) and "schema" in part:
            for name, example in examples.items():
                assert faults(part["schema"], example["value"], service=service) == [], f"{path} {name}"
                seen += 1
        if isinstance(examples, list):
            for value in examples:
                assert faults(part, value, service=service) == [], path
                seen += 1
    assert seen > 50


def test_each_operation_has_its_security() -> None:
    for _, _, operation in operations("api"):
        is_receipt = operation["operationId"].startswith("recordReceipt")
        assert operation["security"] == ([{"receiptToken": []}] if is_receipt else [{"apiKey": []}, {}])
    assert document()["components"]["securitySchemes"].keys() == {"apiKey", "receiptToken"}
    assert document("reporting")["components"]["securitySchemes"].keys() == {"apiKey"}


@given(st.text(alphabet="0178IiLlOoUuZz-_ é", min_size=24, max_size=27) | st.from_regex(ids.PATTERN, fullmatch=True))
def test_the_pattern_of_an_id_matches_what_is_accepted(text: str) -> None:
    try:
        ids.from_text(text)
    except ValueError:
        is_read = False
    else:
        is_read = True
    assert is_read is bool(re.fullmatch(ids.PATTERN, text))
