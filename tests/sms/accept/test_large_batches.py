"""Batches that are large or mostly wrong: counted before anything is decoded, and answered shortly."""

from __future__ import annotations

import dataclasses
import gzip
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from apps.balance.models import Account
from apps.customers import rate_limit
from apps.customers.keys import key_create
from apps.customers.models import Customer
from apps.sms.accept import requests
from apps.sms.accept.requests import MOST_EXPLAINED, decode_batch
from apps.sms.accept.responses import MOST_ERRORS_OF_ITEM, TIMES_REQUEST
from apps.sms.models import Message
from smsgateway import ids
from smsgateway.errors import MAX_ERRORS, InvalidRequest
from smsgateway.http import body as bodies
from smsgateway.http import request_body
from smsgateway.http.views import MOST_OF_ONE
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]
CUSTOMER = "01M85WEX1V5DRSABARX08QE0G2"
VALID = {"to": "09121234567", "text": "hello"}
SHORT = 16_384


def of(items: list[str], field: str = "messages", customer_id: str = CUSTOMER) -> bytes:
    text = '"text":"x",' if field == "to" else ""
    return f'{{"customer_id":"{customer_id}",{text}"{field}":[{",".join(items)}]}}'.encode()


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoder(_kind: object) -> None:
        raise AssertionError("an item is decoded")

    monkeypatch.setattr(requests, "decoder", decoder)
    monkeypatch.setattr(bodies, "decoder", decoder)


@pytest.mark.parametrize(
    ("item", "field"), [("{}", "messages"), ("1", "messages"), (json.dumps(VALID), "messages"), ('""', "to")]
)
def test_items_are_counted_before_one_is_decoded(
    item: str, field: str, settings: Any, request: pytest.FixtureRequest
) -> None:
    if item.startswith("{"):  # decoding others ends at the first one
        request.getfixturevalue("no_decoding")
    most = settings.CONFIG.sms.max_batch
    with pytest.raises(InvalidRequest) as refused:
        decode_batch(of([item] * (most + 1), field), config=settings.CONFIG.sms)
    (error,) = refused.value.errors
    assert (error["field"], error["code"]) == (field, "invalid_length")
    assert error["reason"] == f"A batch has 1 to {most} messages, this one has more than {most}."


@pytest.mark.parametrize(
    "body",
    [
        of(["{}"] * 1_700_000),
        of(["1"] * 2_500_000),
        of(['""'] * 1_700_000, "to"),
        of(["{}"] * 1_700_000)[:-1] + b',"messages":[]}',
        of(["{}"] * 1_700_000)[:-2],
        of(["[" + "{}," * 1_700_000 + "1]"]),
    ],
    ids=["objects", "numbers", "recipients", "a second list", "cut short", "in one item"],
)
@pytest.mark.parametrize("path", ["/v1/sms/batch", "/v1/sms/estimate"])
def test_a_million_items_take_little_memory(db: None, post: Post, body: bytes, path: str) -> None:
    tracemalloc.start()
    try:
        response = post(path, gzip.compress(body, 1), **{"Content-Encoding": "gzip"})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status_code in (400, 404), response.content[:300]  # the last one has a single item
    assert len(response.content) < 1000
    assert peak < 8 * len(body)


def test_the_largest_batch_is_taken(make_customer: MakeCustomer, post: Post, settings: Any) -> None:
    settings.CONFIG = dataclasses.replace(settings.CONFIG, sms=dataclasses.replace(settings.CONFIG.sms, max_batch=30))
    customer = ids.to_text(make_customer())
    for count, status in ((30, 200), (31, 400)):
        for body in (
            of([json.dumps(VALID)] * count, customer_id=customer),
            of(['"09121234567"'] * count, "to", customer),
        ):
            assert post("/v1/sms/batch", body).status_code == status
    assert Message.objects.count() == 60


NAMES = ",".join(f'"{chr(97 + number % 26)}{number}":1' for number in range(300))


@pytest.mark.parametrize("path", ["/v1/sms/batch", "/v1/sms/estimate"])
@pytest.mark.parametrize(
    ("items", "field"),
    [
        (["{}"] * 10_000, "messages"),
        (["1"] * 10_000, "messages"),
        (['{"to":1,"text":1,"from":1,"priority":1,"a":1,"b":1,"c":1}'] * 10_000, "messages"),
        ([f"{{{NAMES}}}"] * 300, "messages"),
        (['{"%s":1}' % ("\\u0001" * 200)] * 1000, "messages"),
        (['{"%s":1}' % ("\u06f1" * 200)] * 1000, "messages"),
        (['""'] * 10_000, "to"),
        (["1"] * 10_000, "to"),
        (['{"to":"1","text":"\\u0000","from":"@@@@@@@@@@@@"}'] * 5000, "messages"),
        (["{}"], "messages"),
    ],
    ids=lambda value: f"{len(value)} of {value[0][:20]!r}" if isinstance(value, list) else value,
)
def test_an_answer_is_at_most_ten_times_its_request(
    make_customer: MakeCustomer, post: Post, path: str, items: list[str], field: str
) -> None:
    body = of(items, field, ids.to_text(make_customer()))
    response = post(path, body)
    assert response.status_code == 200
    assert len(response.content) <= max(TIMES_REQUEST * len(body), SHORT) + 100  # the balance
    answer = response.json()
    described = [result for result in answer["results"] if result.get("errors")]
    assert described
    assert len(described) + answer.get("more_refused", 0) == len(items)
    assert all(result["status"] == "refused" for result in answer["results"])
    assert max(len(result["errors"]) for result in described) <= MOST_ERRORS_OF_ITEM
    assert not Message.objects.exists()


def test_errors_are_searched_in_some_wrong_items_only(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    searched = []
    errors_of = bodies.errors_of
    monkeypatch.setattr(bodies, "errors_of", lambda *given: searched.append(1) or errors_of(*given))
    batch = decode_batch(of(["{}", json.dumps(VALID)] * 5000), config=settings.CONFIG.sms)
    assert len(searched) == MOST_EXPLAINED
    wrong = [item for item in batch.items if isinstance(item, list)]
    assert len(wrong) == 5000
    assert [bool(item) for item in wrong] == [True] * MOST_EXPLAINED + [False] * (5000 - MOST_EXPLAINED)


def test_wrong_items_of_usual_size_are_all_described(make_customer: MakeCustomer, post: Post) -> None:
    customer = ids.to_text(make_customer())
    messages = [VALID if index % 2 else VALID | {"to": "0912"} for index in range(2000)]
    answer = post("/v1/sms/batch", {"customer_id": customer, "messages": messages}).json()
    assert "more_refused" not in answer
    assert (answer["accepted"], answer["refused"], len(answer["results"])) == (1000, 1000, 2000)
    assert all(result["errors"][0]["code"] == "invalid_number" for result in answer["results"][::2])
    recipients = (["09121234567"] * 9 + ["0912123456"]) * 200
    answer = post("/v1/sms/batch", {"customer_id": customer, "to": recipients, "text": "hi"}).json()
    assert "more_refused" not in answer
    assert all(result["errors"][0]["code"] == "invalid_number" for result in answer["results"][9::10])


def test_what_is_accepted_is_always_listed(make_customer: MakeCustomer, post: Post) -> None:
    """Also where refused items are left out, and where the balance ends before the last one."""
    customer_id = make_customer(balance=150)
    items = ["1"] * 8000 + [json.dumps(VALID)] * 2 + ["1"] * 8
    body = of(items, customer_id=ids.to_text(customer_id))[:-1] + b',"on_insufficient_balance":"partial"}'
    answer = post("/v1/sms/batch", body).json()
    found = {result["index"]: result for result in answer["results"]}
    assert len(found) == len(answer["results"]) < len(items)
    assert found[8000]["status"] == "accepted"
    assert found[8001]["errors"][0]["code"] == "insufficient_balance"
    assert (answer["accepted"], answer["refused"]) == (1, len(items) - 1)
    assert Account.objects.get(customer_id=customer_id).balance == 50


@pytest.mark.parametrize(
    ("path", "extra"), [("/v1/sms/send", VALID), ("/v1/sms/batch", {"messages": [VALID]}), ("/v1/sms/estimate", {})]
)
def test_the_errors_of_a_request_are_bounded_and_the_others_counted(
    db: None, post: Post, path: str, extra: dict[str, Any]
) -> None:
    body = json.dumps({"customer_id": CUSTOMER} | extra | {f"x{number}": 1 for number in range(700)}).encode()
    response = post(path, body)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (400, "invalid_request")
    assert len(problem["errors"]) == MAX_ERRORS
    assert problem["more_errors"] >= 700 - MAX_ERRORS
    assert len(response.content) <= max(TIMES_REQUEST * len(body), SHORT)
    named = [error for error in problem["errors"] if "fields are" in error["reason"]]
    assert len(named) == 1


def test_few_errors_have_no_count(db: None, post: Post) -> None:
    assert "more_errors" not in post("/v1/sms/send", {}).json()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"customer_id": None}, ("customer_id", "missing")),
        ({"customer_id": 5}, ("customer_id", "invalid_value")),
        ({"colour": "red"}, ("colour", "unknown_field")),
        ({"on_insufficient_balance": "maybe"}, ("on_insufficient_balance", "invalid_value")),
    ],
)
def test_of_a_large_body_the_first_error_is_named(
    db: None, post: Post, change: dict[str, Any], expected: tuple[str, str]
) -> None:
    document = {"customer_id": CUSTOMER, "reference": "x" * bodies.MOST_EXPLAINED, **VALID} | change
    single = {name: value for name, value in document.items() if value is not None}
    if "on_insufficient_balance" not in change:
        (error,) = post("/v1/sms/send", single).json()["errors"]
        assert (error["field"], error["code"]) in (expected, ("reference", "invalid_value"))
    batch = {"customer_id": CUSTOMER, "messages": [VALID] * 6000} | change
    batch = {name: value for name, value in batch.items() if value is not None}
    (error,) = post("/v1/sms/batch", batch).json()["errors"]
    assert error["field"] == expected[0]
    assert error["reason"]


def test_a_large_body_that_is_no_json_is_refused_with_the_place(db: None, post: Post) -> None:
    for path in ("/v1/sms/send", "/v1/sms/batch"):
        (error,) = post(path, b'{"customer_id": "' + b"x" * 300_000 + b'", nonsense}').json()["errors"]
        assert error["code"] == "malformed_json"
        assert "byte 300020" in error["reason"]


def test_one_message_is_at_most_a_mebibyte(make_customer: MakeCustomer, post: Post) -> None:
    body = json.dumps({"customer_id": ids.to_text(make_customer()), **VALID}).encode()
    padded = body + b" " * (MOST_OF_ONE - len(body))
    for sent, status in ((padded, 200), (padded + b" ", 413)):
        assert post("/v1/sms/send", sent).status_code == status
        assert post("/v1/sms/send", gzip.compress(sent), **{"Content-Encoding": "gzip"}).status_code == status


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a body fails the test."""

    def whole(*_given: object) -> bytes:
        raise AssertionError("the body is read")

    monkeypatch.setattr(request_body, "_whole", whole)
    monkeypatch.setattr(request_body, "_gunzip", whole)


def with_keys(settings: Any) -> None:
    api = dataclasses.replace(settings.CONFIG.api, keys="required", keys_cache=0.0, limits_refresh=0.0)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, api=api)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("path", ["/v1/sms/send", "/v1/sms/batch", "/v1/sms/estimate", "/v1/operators/mci/receipts"])
def test_without_credentials_a_body_is_not_read(db: None, post: Post, settings: Any, path: str) -> None:
    with_keys(settings)
    for headers in ({}, {"Authorization": "Bearer sgw_00000000_nonsense"}):
        response = post(path, gzip.compress(b"{}"), **{"Content-Encoding": "gzip"}, **headers)
        assert response.status_code == 401


def test_a_customer_with_nothing_left_is_refused_before_its_body_is_read(
    make_customer: MakeCustomer,
    post: Post,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    with_keys(settings)
    monkeypatch.setattr(rate_limit, "_REMEMBERED_SECONDS", 30.0)
    monkeypatch.setattr(rate_limit, "seconds_until", lambda *_given, **_named: 30)
    customer_id = make_customer()
    Customer.objects.filter(id=customer_id).update(messages_per_minute=1)
    _, key = key_create(customer_id=customer_id)
    headers = {"Authorization": f"Bearer {key}"}
    single = {"customer_id": ids.to_text(customer_id), **VALID}
    batch = {"customer_id": ids.to_text(customer_id), "messages": [VALID]}
    first = post("/v1/sms/batch", batch, **headers, **{"Idempotency-Key": "k"})
    assert first.status_code == 200
    assert post("/v1/sms/send", single, **headers).status_code == 429  # its body was read: nobody knew
    again = post("/v1/sms/batch", batch, **headers, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.content) == (200, first.content)
    post("/v1/sms/send", single, **headers)
    request.getfixturevalue("unread")
    for path in ("/v1/sms/send", "/v1/sms/batch"):
        refused = post(path, b"{", **headers)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused["Retry-After"]) > 0
        assert "RateLimit" in refused
    other = post("/v1/sms/batch", batch, **headers, **{"Idempotency-Key": "another"})
    assert other.status_code == 429
