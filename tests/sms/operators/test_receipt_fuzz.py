"""Damaged receipts over SMPP and HTTP: each is read, waits, or is kept as unreadable; none names another message.

RECEIPT_FUZZ: how many of each kind (default 2,000).
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
from collections import Counter
from typing import Any

import pytest

from apps.sms.operators.base import InvalidReceipt, Receipt
from apps.sms.operators.generic_http import GenericHttp
from apps.sms.operators.receipt_bodies import receipt_document
from apps.sms.operators.smpp.client import Smpp
from smsgateway import config
from smsgateway.errors import UnsupportedMediaType
from tests.support.smpp import NAME, SETTINGS
from tests.support.smpp_receipts import data_pdu, deliver_pdu

COUNT = int(os.environ.get("RECEIPT_FUZZ", "2000"))
WORDS = ["DELIVRD", "UNDELIV", "EXPIRED", "REJECTD", "ENROUTE", "ACKED", "FAILED", "WHO"]
DIALECTS: list[dict[str, Any]] = [
    {},
    {"receipt_ids": "hex-then-decimal"},
    {"receipt_ids": "hexadecimal", "tlv_ids": "hexadecimal"},
    {"id_comparison": "numeric"},
    {"id_comparison": "ignore-zeros", "receipts_unmarked": "on"},
    {"id_comparison": "ignore-case", "receipt_source": "text"},
    {"receipt_source": "parameters", "receipt_zone": "Asia/Tehran"},
]
TEXTS = [
    "id:{id} sub:001 dlvrd:001 submit date:2611301905 done date:2611301906 stat:{word} err:000 text:Hello",
    "stat:{word};err:000;id:{id};",
    "message_id={id}&status={word}&done_date=20261130190600",
    '{{"id":"{id}","stat":"{word}"}}',
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(os.environ.get("RECEIPT_SEED", "1"))


def damaged(octets: bytes) -> bytes:
    """The octets with a few changes of the kinds that lines, gateways and programmers make."""
    changed = bytearray(octets)
    for _ in range(random.choice([0, 1, 1, 1, 2, 5, 20])):
        at = random.randrange(len(changed) + 1)
        match random.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                del changed[at : at + random.randrange(1, 9)]
            case 2:
                changed[at:at] = random.randbytes(random.randrange(1, 9))
            case 3:
                del changed[at:]
            case 4:
                changed[at:at] = random.choice(
                    [b"\0", b";", b" ", b"\r\n", b"\x1b", b"id:", b"stat:", b"text:", b"\xff\xff"]
                )
            case 5:
                changed[at : at + 1] = bytes([changed[at] ^ 1 << random.randrange(8)]) if at < len(changed) else b""
    return bytes(changed)


def smpp_receipt(number: int) -> bytes:
    word = random.choice(WORDS)
    texts = {"id": random.choice([f"{number:020d}", f"{number:X}", str(number)]), "word": word}
    text = random.choice(TEXTS).format(**texts)
    tlvs: dict[str, bytes] = {}
    if random.random() < 0.5:
        tlvs = {"id": random.choice([texts["id"].encode(), f"{number:x}".encode()]) + b"\0", "state": b"\2"}
    content = text.encode(random.choice(["ascii", "ascii", "utf-16-be"]))[:254]
    coding, esm_class = random.choice([0, 0, 3, 8]), random.choice([4, 4, 4, 0, 0x20, 0x44])
    if random.random() < 0.2:
        return data_pdu(esm_class=esm_class, coding=coding, payload=content, **tlvs)
    return deliver_pdu(content, esm_class=esm_class, coding=coding, **tlvs)


def forms_of(number: int) -> set[str]:
    """What names this message, in any notation."""
    return {f"{number:020d}", f"{number:X}", f"{number:x}", str(number), str(int(str(number), 16))}


def test_damaged_deliveries_are_read_or_kept_and_name_no_other_message() -> None:
    clients = [Smpp(NAME, dataclasses.replace(SETTINGS, **dialect)) for dialect in DIALECTS]
    messages = random.sample(range(10**15, 10**16), 100)
    others = {number: set().union(*(forms_of(one) for one in messages if one != number)) for number in messages}
    found: Counter[str] = Counter()
    for _ in range(COUNT):
        number = random.choice(messages)
        raw = damaged(smpp_receipt(number)[16:])
        read = random.choice(clients)._read(raw[:0].ljust(16, b"\0") + raw if random.random() < 0.01 else _framed(raw))
        assert "it cannot be read" not in read.reason, (raw, read.reason)  # an error of ours
        if read.receipt is None:
            assert read.reason or read.kind == "message", raw
            found[read.kind] += 1
            continue
        assert read.receipt.operator_message_id not in others[number], raw
        found["applied" if read.receipt.operator_message_id in forms_of(number) else "waiting"] += 1
    assert found["applied"] > COUNT / 10
    assert found["unreadable"] > COUNT / 100


def _framed(body: bytes) -> bytes:
    command = random.choice([5, 5, 5, 0x103])
    return (16 + len(body)).to_bytes(4) + command.to_bytes(4) + bytes(4) + (1).to_bytes(4) + body


def http_receipt(number: int) -> tuple[bytes, str]:
    word = random.choice(WORDS)
    one = {"messageId": str(number), "status": {"name": word}, "at": "2026-11-30T19:05:00Z"}
    match random.randrange(5):
        case 0:
            return json.dumps(one).encode(random.choice(["utf-8", "utf-8-sig", "utf-16"])), "application/json"
        case 1:
            return json.dumps({"results": [one]}).encode(), "application/json"
        case 2:
            return f"messageId={number}&status.name={word}".encode(), "application/x-www-form-urlencoded"
        case 3:
            xml = f"<results><messageId>{number}</messageId><status name='{word}'/></results>"
            return f'<?xml version="1.0"?><r>{xml}</r>'.encode(), "application/xml"
        case _:
            return json.dumps([one]).encode(), random.choice(["text/plain", "", "application/octet-stream"])


def test_damaged_receipts_over_http_are_read_or_refused_and_name_no_other_message() -> None:
    loaded, _ = config.load(
        {
            "OPERATORS_HTTP": "rightel",
            "OPERATOR_RIGHTEL_URL": "http://127.0.0.1:9/{recipient}{text}",
            "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "long-enough",
            "OPERATOR_RIGHTEL_RECEIPT_ID": "messageId",
            "OPERATOR_RIGHTEL_RECEIPT_STATUS": "status.name",
        }
    )
    operator = GenericHttp("rightel", loaded.http_operators["rightel"])
    messages = random.sample(range(10**15, 10**16), 100)
    found: Counter[str] = Counter()
    for _ in range(COUNT):
        number = random.choice(messages)
        body, content_type = http_receipt(number)
        body = damaged(body)
        try:
            document = receipt_document(method="POST", content_type=content_type, query="", body=body)
            read = operator.read_receipts(document)
        except (InvalidReceipt, UnsupportedMediaType):
            found["refused"] += 1
            continue
        for one in read:
            if not isinstance(one, Receipt):
                found["ignored" if one is None else "refused"] += 1
                continue
            assert one.operator_message_id == str(number) or one.operator_message_id not in map(str, messages), body
            found["applied" if one.operator_message_id == str(number) else "waiting"] += 1
    assert found["applied"] > COUNT / 20
    assert found["refused"] > COUNT / 100
