"""SMPP's headers, numbers, and the PDUs that the codec `smpp34` has no class for.

The codec packs and reads submit_sm and deliver_sm. The other PDUs are a header and some NUL-terminated texts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from smpp34 import _smpp34 as codec  # `smpp34` exports the tags too, but its type stubs leave that out

BIND_TRANSCEIVER: Final = 0x00000009
UNBIND: Final = 0x00000006
SUBMIT_SM: Final = 0x00000004
DELIVER_SM: Final = 0x00000005
ENQUIRE_LINK: Final = 0x00000015
ALERT_NOTIFICATION: Final = 0x00000102
DATA_SM: Final = 0x00000103
RESPONSE: Final = 0x80000000
GENERIC_NACK: Final = 0x80000000

INTERFACE_VERSIONS: Final = {"3.3": 0x33, "3.4": 0x34, "5.0": 0x50}
LAST_SEQUENCE: Final = 0x7FFFFFFF
HEADER_LENGTH: Final = 16
# The longest allowed by the standard: a message_payload of 64 KiB and the fields before it.
MAX_LENGTH: Final = 70_000

UDH_INDICATOR: Final = 0x40  # of esm_class
TLV_MESSAGE_PAYLOAD: Final = codec.TLV_MESSAGE_PAYLOAD
TLV_MESSAGE_STATE: Final = codec.TLV_MESSAGE_STATE
TLV_NETWORK_ERROR_CODE: Final = codec.TLV_NETWORK_ERROR_CODE
TLV_RECEIPTED_MESSAGE_ID: Final = codec.TLV_RECEIPTED_MESSAGE_ID
TLV_SAR_MSG_REF_NUM: Final = codec.TLV_SAR_MSG_REF_NUM
TLV_SAR_SEGMENT_SEQNUM: Final = codec.TLV_SAR_SEGMENT_SEQNUM
TLV_SAR_TOTAL_SEGMENTS: Final = codec.TLV_SAR_TOTAL_SEGMENTS
TLV_USER_MESSAGE_REFERENCE: Final = codec.TLV_USER_MESSAGE_REFERENCE

_HEADER: Final = struct.Struct(">4I")


class Pdu(NamedTuple):
    """A received PDU. `raw`: all of it, with the header."""

    command: int
    status: int
    sequence: int
    raw: bytes

    @property
    def text(self) -> str:
        """The body's first text: a submit_sm_resp's message_id, a bind response's system_id."""
        end = self.raw.find(b"\0", HEADER_LENGTH)
        return self.raw[HEADER_LENGTH : end if end >= 0 else None].decode("latin-1")

    def texts(self, count: int) -> list[str]:
        """The body's first texts. Raises ValueError if it has fewer."""
        found = self.raw[HEADER_LENGTH:].split(b"\0", count)
        if len(found) <= count:
            raise ValueError(f"the PDU has fewer than {count} texts")
        return [text.decode("latin-1") for text in found[:count]]


class BadFrame(ValueError):
    """The stream is not SMPP: a PDU has an impossible length"""


def frames(buffer: bytearray) -> Iterator[Pdu]:
    """Remove the complete PDUs from the buffer, and yield them. Raises BadFrame: the rest of the stream is lost."""
    start = 0
    try:
        while len(buffer) - start >= HEADER_LENGTH:
            length, command, status, sequence = _HEADER.unpack_from(buffer, start)
            if not HEADER_LENGTH <= length <= MAX_LENGTH:
                raise BadFrame(f"a PDU of {length} octets")
            if len(buffer) - start < length:
                break
            raw = bytes(buffer[start : start + length])
            start += length
            yield Pdu(command, status, sequence, raw)
    finally:
        del buffer[:start]


def pack(command: int, sequence: int, *, status: int = 0, body: bytes = b"") -> bytes:
    """A PDU with this body."""
    return _HEADER.pack(HEADER_LENGTH + len(body), command, status, sequence) + body


def bind_transceiver(sequence: int, *, system_id: str, password: str, system_type: str, version: str = "3.4") -> bytes:
    """A bind_transceiver without an address range."""
    texts = b"".join(text.encode("ascii") + b"\0" for text in (system_id, password, system_type))
    return pack(BIND_TRANSCEIVER, sequence, body=texts + bytes((INTERFACE_VERSIONS[version], 0, 0)) + b"\0")


def response(request: Pdu, status: int, text: str | None = None) -> bytes:
    """The response to a request. `text`: its system_id or message_id; None for responses without a text."""
    body = b"" if text is None else text.encode("latin-1") + b"\0"
    return pack(request.command | RESPONSE, request.sequence, status=status, body=body)
