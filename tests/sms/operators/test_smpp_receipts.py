"""Receipts in deliver_sm, in the many ways that SMSCs write them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sms.operators.base import Receipt
from apps.sms.operators.smpp import statuses
from tests.support.smpp_receipts import deliver, reader

READER = reader(receipt_zone="Asia/Tehran")
TEXT = "id:0012 sub:001 dlvrd:001 submit date:2501010000 done date:2501011200 stat:DELIVRD err:000 text:Hello"


def read(text: str | bytes = "", **others: Any) -> Receipt:
    found = READER.read(deliver(text, **others))
    assert found.kind == "receipt"
    assert found.receipt is not None
    return found.receipt


def test_the_text_form() -> None:
    receipt = read(TEXT)
    assert (receipt.reference, receipt.operator_message_id, receipt.status) == (None, "0012", "delivered")
    assert receipt.error == ""
    assert receipt.at == 1_735_720_200_000  # 12:00 in Tehran


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ID:0A stat:undeliv ERR:027", ("0A", "undelivered", "027")),
        ("id:0000 STAT:EXPIRED err:1", ("0000", "expired", "1")),
        ("id: 77 stat: REJECTD err: 5", ("77", "rejected", "5")),
        ("id:7 stat:DELETED", ("7", "undelivered", "")),
        ("id:7 stat:DELIVERED err: text:id:9 stat:UNDELIV", ("7", "delivered", "")),
        ("stat:UNDELIV\r\nid:a-b:c", ("a-b:c", "undelivered", "")),
    ],
)
def test_other_ways_to_write_it(text: str, expected: tuple[str, str, str]) -> None:
    receipt = read(text)
    assert (receipt.operator_message_id, receipt.status, receipt.error) == expected


def test_parameters_go_before_the_text() -> None:
    receipt = read("id:12 stat:EXPIRED err:", id=b"12\0", state=b"\5", network=b"\3\0\x21")
    assert (receipt.operator_message_id, receipt.status, receipt.error) == ("12", "undelivered", "33")
    assert read("", id=b"1\0", state=b"\x08", network=b"\3\0\x21").error == "33"


@pytest.mark.parametrize(
    ("state", "status"), [(2, "delivered"), (3, "expired"), (4, "undelivered"), (5, "undelivered"), (8, "rejected")]
)
def test_every_final_state(state: int, status: str) -> None:
    assert read("", id=b"1", state=bytes([state])).status == status


@pytest.mark.parametrize("state", [0, 1, 6, 7])
def test_states_on_the_way_are_kept(state: int) -> None:
    found = READER.read(deliver("", id=b"1", state=bytes([state])))
    assert found.kind == "intermediate"
    assert found.receipt is not None
    assert (found.receipt.operator_message_id, found.receipt.status) == ("1", "intermediate")


@pytest.mark.parametrize("word", ["ENROUTE", "ACCEPTD", "UNKNOWN", "enroute"])
def test_words_of_the_way_are_kept(word: str) -> None:
    found = READER.read(deliver(f"id:1 stat:{word}"))
    assert found.kind == "intermediate"
    assert found.receipt is not None
    assert (found.receipt.status, found.receipt.state) == ("intermediate", word.upper())


def test_the_text_may_be_a_payload_or_in_ucs2() -> None:
    assert read("", payload=TEXT.encode()).operator_message_id == "0012"
    assert read(TEXT.encode("utf-16-be"), coding=8).operator_message_id == "0012"


def test_what_a_phone_sent_is_a_message() -> None:
    assert READER.read(deliver("id:1 stat:DELIVRD", esm_class=0)).kind == "message"


def test_an_intermediate_notification_is_none() -> None:
    assert READER.read(deliver(TEXT, esm_class=0x20)).kind == "intermediate"


@pytest.mark.parametrize("text", ["", "stat:DELIVRD", "id: stat:DELIVRD", "id:1", "id:1 stat:WHO", "id:" + "1" * 65])
def test_what_cannot_be_matched_is_told(text: str) -> None:
    assert READER.read(deliver(text)).kind == "unreadable"


@pytest.mark.parametrize("done", ["", "9999999999", "2501", "later", "9901010000"])
def test_a_time_that_is_none_is_now(done: str) -> None:
    before = time.time_ns() // 1_000_000
    at = read(f"id:1 stat:DELIVRD done date:{done}").at
    assert at >= before or done == "9901010000"


def test_without_a_zone_the_time_is_now() -> None:
    before = time.time_ns() // 1_000_000
    found = reader().read(deliver(TEXT))
    assert found.receipt is not None
    assert found.receipt.at >= before


@pytest.mark.parametrize(
    ("form", "answered", "receipted"),
    [
        ("as-is", "000aB", "000aB"),
        ("hex-then-decimal", "000A0b", "2571"),
        ("hex-then-decimal", "a0b", "0000002571"),
        ("decimal-then-hex", "0002571", "A0B"),
        ("hex-then-decimal", "not-hex", "not-hex"),
    ],
)
def test_ids_meet_however_they_are_written(form: str, answered: str, receipted: str) -> None:
    found = reader(receipt_ids=form)
    read_again = found.read(deliver(f"id:{receipted} stat:DELIVRD"))
    assert read_again.receipt is not None
    assert found.submitted_id(answered) == read_again.receipt.operator_message_id != ""


def test_ids_are_kept_as_given_unless_told_otherwise() -> None:
    assert READER.submitted_id("007") != READER.submitted_id("7")


@given(
    st.binary(max_size=250),
    st.integers(0, 255),
    st.sampled_from([0, 3, 8, 245]),
    st.dictionaries(st.sampled_from(["id", "state", "network", "payload"]), st.binary(max_size=40)),
)
def test_nothing_that_an_smsc_sends_raises(text: bytes, esm_class: int, coding: int, tlvs: dict[str, bytes]) -> None:
    found = READER.read(deliver(text, esm_class=esm_class, coding=coding, **tlvs))
    assert (found.receipt is not None) == (found.kind in ("receipt", "intermediate"))
    assert found.receipt or found.reason or found.kind == "message"


@given(st.text(alphabet="0123456789abcdefXYZ-_.", min_size=1, max_size=64), st.sampled_from(["DELIVRD", "UNDELIV"]))
def test_any_id_comes_back_as_given(operator_message_id: str, word: str) -> None:
    assert (
        read(f"id:{operator_message_id} sub:001 stat:{word} err:000 text:").operator_message_id == operator_message_id
    )


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (0x58, "Throttled", "throttled"),
        (0x14, "QueueFull", "ESME_RMSGQFUL"),
        (0x403, "Throttled", "throttled"),
        (0x0B, "PermanentSubmitError", "ESME_RINVDSTADR"),
        (0x0A, "PermanentSubmitError", "ESME_RINVSRCADR"),
        (0x08, "TransientSubmitError", "ESME_RSYSERR"),
        (0x45, "TransientSubmitError", "ESME_RSUBMITFAIL"),
        (0x4FF, "TransientSubmitError", "unknown_status"),
        (0x401, "PermanentSubmitError", "0x00000401"),
        (0x402, "TransientSubmitError", "0x00000402"),
        (0xFE, "TransientSubmitError", "ESME_RDELIVERYFAILURE"),
    ],
)
def test_command_statuses(status: int, kind: str, code: str) -> None:
    error = statuses.Meanings(transient=["0xFE", "0x402"], permanent=["0x00000401"], throttled=["0x403"]).error(status)
    assert (type(error).__name__, error.code) == (kind, code)
