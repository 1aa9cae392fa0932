"""What an SMSC sends in deliver_sm and data_sm, read without trust: a body that is cut gives what it has.

Source: SMPP 3.4, sections 4.6, 4.7 and 5.3.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from apps.sms.operators.smpp import pdu

_TLV_HEADER: Final = struct.Struct(">HH")


class Delivery(NamedTuple):
    """A deliver_sm or data_sm. `content`: the octets of its text, without a user data header; `tlvs`: by tag."""

    esm_class: int
    data_coding: int
    content: bytes
    tlvs: dict[int, bytes]
    source: str = ""
    destination: str = ""


class BrokenDelivery(ValueError):
    """The PDU ends before its text"""


def delivery_of(raw: bytes) -> Delivery:
    """Read a whole PDU, with its header. Raises BrokenDelivery."""
    if len(raw) < pdu.HEADER_LENGTH:
        raise BrokenDelivery("it has no header")
    command = int.from_bytes(raw[4:8])
    body = _Body(raw)
    body.text("service_type")
    body.octets(2, "source_addr_ton")
    source = body.text("source_addr")
    body.octets(2, "dest_addr_ton")
    destination = body.text("destination_addr")
    if command == pdu.DATA_SM:
        esm_class, _registered, coding = body.octets(3, "esm_class")
        content = b""
    else:
        esm_class, _protocol, _priority = body.octets(3, "esm_class")
        body.text("schedule_delivery_time")
        body.text("validity_period")
        _registered, _replace, coding, _default, length = body.octets(5, "registered_delivery")
        content = body.up_to(length)
    tlvs = body.tlvs()
    content = content or tlvs.get(pdu.TLV_MESSAGE_PAYLOAD, b"")
    if esm_class & pdu.UDH_INDICATOR and content and content[0] < len(content):
        content = content[content[0] + 1 :]
    return Delivery(esm_class, coding, content, tlvs, source, destination)


class _Body:
    """A reader of a PDU's body."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = pdu.HEADER_LENGTH

    def text(self, name: str) -> str:
        end = self._raw.find(b"\0", self._at)
        if end < 0:
            raise BrokenDelivery(f"it ends in {name}")
        found = self._raw[self._at : end].decode("latin-1")
        self._at = end + 1
        return found

    def octets(self, count: int, name: str) -> bytes:
        found = self._raw[self._at : self._at + count]
        if len(found) < count:
            raise BrokenDelivery(f"it ends before {name}")
        self._at += count
        return found

    def up_to(self, count: int) -> bytes:
        found = self._raw[self._at : self._at + count]
        self._at += len(found)
        return found

    def tlvs(self) -> dict[int, bytes]:
        """The parameters up to the first that is cut. The first of a tag counts."""
        found: dict[int, bytes] = {}
        while self._at + _TLV_HEADER.size <= len(self._raw):
            tag, length = _TLV_HEADER.unpack_from(self._raw, self._at)
            self._at += _TLV_HEADER.size
            value = self.up_to(length)
            if len(value) < length:
                break
            found.setdefault(tag, value)
        return found
