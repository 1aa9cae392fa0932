"""Delivery receipts in each operator's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.sms.operators import registry
from apps.sms.operators.base import InvalidReceipt, Receipt
from smsgateway import ids
from tests.support.operators import CONFIG, receipt_of

MESSAGE_ID = ids.new_id()
MCI = {
    "reference": ids.to_text(MESSAGE_ID),
    "messageId": "000123",
    "status": "DELIVRD",
    "error": "",
    "doneAt": 1_767_225_600_123,
}
IRANCELL = {"clientRef": ids.to_text(MESSAGE_ID), "id": "000123", "state": 2, "err": "", "ts": 1_767_225_600}
GOOD = {"mci": MCI, "irancell": IRANCELL}


def parse(name: str, body: object) -> Receipt:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return receipt_of(registry.build(CONFIG)[name], raw)


def wrong_fields(name: str, body: object) -> dict[str, str]:
    with pytest.raises(InvalidReceipt) as caught:
        parse(name, body)
    assert caught.value.status == 400
    assert all(error["reason"] for error in caught.value.errors)
    return {error["field"]: error["code"] for error in caught.value.errors}


@pytest.mark.parametrize(("name", "at"), [("mci", 1_767_225_600_123), ("irancell", 1_767_225_600_000)])
def test_a_delivered_message(name: str, at: int) -> None:
    assert parse(name, GOOD[name]) == Receipt(
        reference=MESSAGE_ID, operator_message_id="000123", status="delivered", error="", at=at
    )


@pytest.mark.parametrize(
    ("name", "changes", "status"),
    [
        ("mci", {"status": "UNDELIV", "error": "absent"}, "undelivered"),
        ("mci", {"status": "EXPIRED", "error": "absent"}, "expired"),
        ("mci", {"status": "REJECTD", "error": "absent"}, "rejected"),
        ("irancell", {"state": 5, "err": "absent"}, "undelivered"),
        ("irancell", {"state": 3, "err": "absent"}, "expired"),
        ("irancell", {"state": 8, "err": "absent"}, "rejected"),
    ],
)
def test_a_failed_message_keeps_the_operators_error(name: str, changes: dict[str, Any], status: str) -> None:
    receipt = parse(name, GOOD[name] | changes)
    assert (receipt.status, receipt.error) == (status, "absent")


@pytest.mark.parametrize("name", GOOD)
def test_fields_that_an_operator_adds_later_are_ignored(name: str) -> None:
    assert parse(name, GOOD[name] | {"network": "43211"}).status == "delivered"


def test_a_reference_in_small_letters_is_the_same_message() -> None:
    assert parse("mci", MCI | {"reference": MCI["reference"].lower()}).reference == MESSAGE_ID


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"\xff"', b"[]", b"1", b"null", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused_as_a_whole(name: str, body: bytes) -> None:
    assert wrong_fields(name, body) == {"": "malformed_json"}


def test_every_missing_field_is_named() -> None:
    assert wrong_fields("mci", {}) == dict.fromkeys(["reference", "messageId", "status", "doneAt"], "missing")
    assert wrong_fields("irancell", {}) == dict.fromkeys(["clientRef", "id", "state", "ts"], "missing")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mci", "reference", "not-a-ulid"),
        ("mci", "reference", "8" + "Z" * 25),  # more than 128 bits
        ("mci", "reference", None),
        ("mci", "messageId", 123),
        ("mci", "messageId", ""),
        ("mci", "messageId", "1" * 65),
        ("mci", "messageId", "1\x00"),
        ("mci", "messageId", "1\n"),
        ("mci", "status", "ENROUTE"),
        ("mci", "error", "\x00"),
        ("mci", "doneAt", "2026-01-01"),
        ("irancell", "clientRef", "0" * 25),
        ("irancell", "id", 123),
        ("irancell", "state", 1),
        ("irancell", "err", 7),
        ("irancell", "ts", "noon"),
    ],
)
def test_a_wrong_field_is_named(name: str, field: str, value: object) -> None:
    assert wrong_fields(name, GOOD[name] | {field: value}) == {field: "invalid"}


def test_all_wrong_fields_are_named_together() -> None:
    body = {"reference": 1, "messageId": 2, "status": 3}
    assert wrong_fields("mci", body) == {
        "reference": "invalid",
        "messageId": "invalid",
        "status": "invalid",
        "doneAt": "missing",
    }
