"""Receipts as SMSCs write them, and a reader of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import smpp34

from apps.sms.operators.smpp import pdu
from apps.sms.operators.smpp.deliveries import Delivery, delivery_of
from apps.sms.operators.smpp.receipts import Delivered, ReceiptReader
from tests.support.smpp import SETTINGS

TAGS = {
    "id": pdu.TLV_RECEIPTED_MESSAGE_ID,
    "state": pdu.TLV_MESSAGE_STATE,
    "network": pdu.TLV_NETWORK_ERROR_CODE,
    "payload": pdu.TLV_MESSAGE_PAYLOAD,
}


def reader(**changes: Any) -> ReceiptReader:
    return ReceiptReader(dataclasses.replace(SETTINGS, **changes))


def deliver_pdu(text: str | bytes = "", *, esm_class: int = 4, coding: int = 0, **tlvs: bytes) -> bytes:
    """A deliver_sm with these octets. TLVs by the names in TAGS, or as `t1403`."""
    return smpp34.DeliverSm(
        source_addr="989121234567",
        destination_addr="98100",
        esm_class=esm_class,
        data_coding=coding,
        short_message=text.encode("latin-1") if isinstance(text, str) else text,
        tlvs=[smpp34.Tlv(_tag(name), value) for name, value in tlvs.items()],
        sequence_number=1,
    ).encode()


def data_pdu(*, esm_class: int = 4, coding: int = 0, **tlvs: bytes) -> bytes:
    """A data_sm."""
    body = b"\0\x01\x01989121234567\0\0\0" + b"98100\0" + bytes((esm_class, 0, coding))
    for name, value in tlvs.items():
        body += _tag(name).to_bytes(2) + len(value).to_bytes(2) + value
    return pdu.pack(pdu.DATA_SM, 1, body=body)


def deliver(text: str | bytes = "", **others: Any) -> Delivery:
    return delivery_of(deliver_pdu(text, **others))


def read(text: str | bytes = "", *, settings: dict[str, Any] | None = None, **others: Any) -> Delivered:
    return reader(**(settings or {})).read(deliver(text, **others))


def _tag(name: str) -> int:
    return TAGS[name] if name in TAGS else int(name[1:], 16)
