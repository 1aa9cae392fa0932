"""Receipts over HTTP as operators send them: lists, forms, queries. Each is used, or the answer is a problem."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from apps.sms.models import WaitingReceipt
from smsgateway import config, ids
from tests.support.customers import MakeCustomer
from tests.support.receipts import accept, receive, status_of, submit

PATH = "/v1/operators/rightel/receipts"
TOKEN = {"Authorization": "Bearer long-enough"}
FORM = "application/x-www-form-urlencoded"

Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def configure(settings: Any) -> Configure:
    """Describe the operator by these settings."""

    def change(**described: str) -> None:
        environment = {f"OPERATOR_RIGHTEL_{name.upper()}": value for name, value in described.items()}
        loaded, _ = config.load(
            {"OPERATORS_HTTP": "rightel", "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "long-enough"} | environment
        )
        settings.CONFIG = dataclasses.replace(settings.CONFIG, http_operators=loaded.http_operators)

    change()
    return change


@pytest.fixture
def message_ids(make_customer: MakeCustomer) -> list[UUID]:
    """Three messages, which the operator took as `1`, `2` and `3`."""
    found = accept(make_customer(), 3)
    for number, message_id in enumerate(found, start=1):
        submit(message_id, str(number), operator="rightel")
    return found


def post(api: APIClient, body: object, content_type: str = "application/json", path: str = PATH, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.generic("POST", path, raw, content_type=content_type, headers=TOKEN | headers)


def statuses_of(message_ids: list[UUID]) -> list[str]:
    receive()
    return [status_of(message_id) for message_id in message_ids]


ALL = ["delivered", "undelivered", "expired"]
WORDS = ["DELIVRD", "UNDELIV", "EXPIRED"]
NESTED = [{"messageId": str(number), "status": {"name": word}} for number, word in enumerate(WORDS, start=1)]
FLAT = [{"id": number, "status": word} for number, word in enumerate(WORDS, start=1)]
BY_NAME = {"receipt_id": "messageId", "receipt_status": "status.name"}


@pytest.mark.parametrize(
    ("body", "described"),
    [
        (FLAT, {}),
        ({"results": NESTED}, {"receipt_id": "results.0.messageId", "receipt_status": "results.0.status.name"}),
        ({"results": NESTED}, {"receipt_id": "results.messageId", "receipt_status": "results.status.name"}),
        ({"count": 3, "results": NESTED, "errors": []}, BY_NAME),
        ({"data": {"reports": FLAT}}, {"receipt_id": "data.reports.id", "receipt_status": "data.reports.status"}),
        ([[FLAT[0]], FLAT[1:]], {}),
        (b"\xef\xbb\xbf" + json.dumps(FLAT).encode(), {}),
        (json.dumps(FLAT).encode("utf-16"), {}),
    ],
)
def test_every_receipt_of_a_list_is_used(
    message_ids: list[UUID], api: APIClient, configure: Configure, body: object, described: dict[str, str]
) -> None:
    configure(**described)
    answer = post(api, body)
    assert (answer.status_code, answer.json()) == (200, {"status": "recorded"})
    assert statuses_of(message_ids) == ALL


def test_one_status_of_many_ids_is_each_ones(message_ids: list[UUID], api: APIClient, configure: Configure) -> None:
    configure(receipt_id="ids")
    assert post(api, {"status": "DELIVRD", "ids": ["1", 2, 3.0]}).status_code == 200
    assert statuses_of(message_ids) == ["delivered"] * 3


def test_lists_beside_each_other_are_refused(message_ids: list[UUID], api: APIClient, configure: Configure) -> None:
    configure(receipt_id="ids.0", receipt_status="statuses.0")
    answer = post(api, {"statuses": WORDS, "ids": ["1", "2", "3"]})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_receipt")
    assert statuses_of(message_ids) == ["submitted"] * 3


def test_the_places_of_a_list_may_have_meanings_of_their_own(
    message_ids: list[UUID], api: APIClient, configure: Configure
) -> None:
    configure(receipt_id="1", receipt_status="0")
    assert post(api, ["UNDELIV", "1"]).status_code == 200
    assert statuses_of(message_ids) == ["undelivered", "submitted", "submitted"]


def test_of_a_list_in_part_wrong_the_rest_is_used_and_the_answer_names_the_wrong_ones(
    message_ids: list[UUID], api: APIClient
) -> None:
    body = [FLAT[0], {"id": 2}, {"id": "a b", "status": "WHO"}, 7, FLAT[2]]
    answer = post(api, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_receipt")
    assert {(error["field"], error["code"]) for error in answer.json()["errors"]} == {
        ("1.status", "missing"),
        ("2.status", "invalid"),
        ("2.id", "invalid"),
        ("3.status", "missing"),
        ("3.id", "missing"),
    }
    assert answer.json()["detail"].startswith("2 of 5 receipts were recorded")
    assert statuses_of(message_ids) == ["delivered", "submitted", "expired"]
    # Sent again as a whole, once it is right, nothing changes for those that were used.
    assert post(api, FLAT).status_code == 200
    assert statuses_of(message_ids) == ALL


def test_a_reference_of_no_message_in_a_list_is_named_and_the_others_count(
    message_ids: list[UUID], api: APIClient, configure: Configure
) -> None:
    configure(receipt_reference="ref")
    known, unknown = ids.to_text(message_ids[1]), ids.to_text(ids.new_id())
    body = [{"id": 8, "status": "DELIVRD", "ref": unknown}, {"id": 9, "status": "DELIVRD", "ref": known}]
    answer = post(api, body)
    assert (answer.status_code, [(e["field"], e["code"]) for e in answer.json()["errors"]]) == (
        400,
        [("0", "message_not_found")],
    )
    assert statuses_of(message_ids) == ["submitted", "delivered", "submitted"]


@pytest.mark.parametrize("body", [[], {"results": []}, b"[]", [[]]])
def test_a_list_without_a_receipt_is_refused(db: None, api: APIClient, configure: Configure, body: object) -> None:
    configure(receipt_id="results.0.id", receipt_status="results.0.status")
    answer = post(api, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_receipt")


def test_stages_on_the_way_in_a_list_are_passed_over(message_ids: list[UUID], api: APIClient) -> None:
    on_the_way = {"id": 1, "status": "ENROUTE"}
    assert post(api, [on_the_way, FLAT[1]]).json() == {"status": "recorded"}
    assert post(api, [on_the_way, on_the_way]).json() == {"status": "ignored"}
    assert statuses_of(message_ids) == ["submitted", "undelivered", "submitted"]


def test_a_list_that_one_transaction_cannot_hold_is_recorded_whole(
    make_customer: MakeCustomer, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.sms.receipts.matching._TOGETHER", 10, raising=False)
    found = accept(make_customer(), 35)
    for number, message_id in enumerate(found):
        submit(message_id, f"m{number}", operator="rightel")
    body = [{"id": f"m{number}", "status": "DELIVRD"} for number in range(35)]
    assert post(api, body).status_code == 200
    assert set(statuses_of(found)) == {"delivered"}


@pytest.mark.parametrize("name", ["mci", "irancell"])
def test_operators_with_packages_may_send_lists_too(
    make_customer: MakeCustomer, api: APIClient, settings: Any, name: str
) -> None:
    first, second = accept(make_customer(), 2)
    submit(first, "1", operator=name)
    submit(second, "2", operator=name)
    made = {
        "mci": lambda ref, status: {"reference": ref, "messageId": "9", "status": status, "doneAt": 1_700_000_000_000},
        "irancell": lambda ref, status: {
            "clientRef": ref,
            "id": "9",
            "state": {"DELIVRD": 2, "UNDELIV": 5}[status],
            "ts": 1_700_000_000,
        },
    }[name]
    body = [made(ids.to_text(first), "DELIVRD"), made(ids.to_text(second), "UNDELIV")]
    headers = {"Authorization": f"Bearer {getattr(settings.CONFIG, name).receipt_token}"}
    path = f"/v1/operators/{name}/receipts"
    assert post(api, body, path=path, **headers).status_code == 200
    assert statuses_of([first, second]) == ["delivered", "undelivered"]
    answer = post(api, [body[0], {}], path=path, **headers)
    assert answer.status_code == 400
    assert all(error["field"].startswith("1.") for error in answer.json()["errors"])


@pytest.mark.parametrize("status", ["delivered", "DELIVRD", "Delivered"])
@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda api, form: post(api, form, FORM), id="form"),
        pytest.param(lambda api, form: post(api, form, f"{FORM}; charset=utf-8"), id="form with a charset"),
        pytest.param(lambda api, form: api.get(f"{PATH}?{form.decode()}", headers=TOKEN), id="GET"),
        pytest.param(lambda api, form: post(api, b"", "", f"{PATH}?{form.decode()}"), id="POST with a query"),
    ],
)
def test_a_receipt_may_be_a_form_or_a_query(
    message_ids: list[UUID], api: APIClient, send: Callable[[APIClient, bytes], Any], status: str
) -> None:
    answer = send(api, f"id=1&status={status}&err=".encode())
    assert (answer.status_code, answer.json()) == (200, {"status": "recorded"})
    assert statuses_of(message_ids) == ["delivered", "submitted", "submitted"]


def test_names_of_a_form_may_have_dots_and_brackets(
    message_ids: list[UUID], api: APIClient, configure: Configure
) -> None:
    configure(receipt_id="report[id]", receipt_status="report.status")
    assert post(api, b"report%5Bid%5D=2&report.status=UNDELIV", FORM).status_code == 200
    assert statuses_of(message_ids) == ["submitted", "undelivered", "submitted"]


def test_a_form_with_a_reference_of_a_package_is_read(
    make_customer: MakeCustomer, api: APIClient, settings: Any
) -> None:
    [message_id] = accept(make_customer())
    submit(message_id, "1", operator="irancell")
    form = f"clientRef={ids.to_text(message_id)}&id=1&state=5&ts=1700000000&err=27".encode()
    headers = {"Authorization": f"Bearer {settings.CONFIG.irancell.receipt_token}"}
    assert post(api, form, FORM, "/v1/operators/irancell/receipts", **headers).status_code == 200
    assert statuses_of([message_id]) == ["undelivered"]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (b"id=1&status=delivered&id=2&status=undelivered", "repeated"),
        (b"id=1", "missing"),
        (b"id=%FF1&status=delivered", "invalid"),
        (b"", "malformed_json"),
        (b"&".join(b"f%d=1" % number for number in range(1000)), "malformed_form"),
    ],
)
def test_a_form_that_is_not_one_receipt_is_refused(
    message_ids: list[UUID], api: APIClient, form: bytes, code: str
) -> None:
    answer = post(api, form, FORM if form else "application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_receipt")
    assert code in {error["code"] for error in answer.json()["errors"]}
    assert statuses_of(message_ids) == ["submitted"] * 3


def test_json_under_another_name_is_read_and_another_type_is_refused(message_ids: list[UUID], api: APIClient) -> None:
    for content_type in ("text/plain", "text/json", "application/vnd.operator+json", FORM):
        assert post(api, FLAT[0], content_type).status_code == 200
    assert post(api, b"\x00\x01receipt", "application/octet-stream").status_code == 415
    assert statuses_of(message_ids) == ["delivered", "submitted", "submitted"]


def test_a_query_needs_the_token_and_head_does_nothing(message_ids: list[UUID], api: APIClient) -> None:
    path = f"{PATH}?id=1&status=delivered"
    assert api.get(path).status_code == 401
    assert api.head(path, headers=TOKEN).status_code == 405
    assert statuses_of(message_ids) == ["submitted"] * 3
    assert api.get(path, headers=TOKEN)["Cache-Control"] == "no-store"
    assert api.get(PATH, headers=TOKEN).json()["code"] == "invalid_receipt"


def test_the_signature_of_a_query_is_over_the_query(
    message_ids: list[UUID], api: APIClient, configure: Configure
) -> None:
    configure(receipt_secret="secret")
    query = "id=1&status=delivered"

    def ask(signed: bytes) -> int:
        signature = "sha256=" + hmac.new(b"secret", signed, hashlib.sha256).hexdigest()
        headers = TOKEN | {"X-Receipt-Signature": signature}
        return int(api.get(f"{PATH}?{query}", headers=headers).status_code)

    assert [ask(b""), ask(query.encode())] == [401, 200]
    assert statuses_of(message_ids) == ["delivered", "submitted", "submitted"]


def test_receipts_of_a_list_wait_for_their_submits_too(make_customer: MakeCustomer, api: APIClient) -> None:
    [message_id] = accept(make_customer())
    assert post(api, [{"id": "early", "status": "UNDELIV"}, {"id": "never", "status": "DELIVRD"}]).status_code == 200
    submit(message_id, "early", operator="rightel")
    assert statuses_of([message_id]) == ["undelivered"]
    assert [row.operator_message_id for row in WaitingReceipt.objects.all()] == ["never"]
