"""Parameters (TLVs) that an operator's settings add to each submit_sm.

Values may have placeholders, so that one setting serves every message: Indian operators, for example, need the ids of
the sender's entity (0x1400) and of the text's template (0x1401), which the caller knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import smpp34

from apps.sms.events import DeliveryRequested
from apps.sms.operators.placeholders import fill_text, values_of
from smsgateway.config.operator_checks import TLV

_LONGEST: Final = 255


class _Template(NamedTuple):
    tag: int
    kind: str
    value: str


class AddedTlvs:
    """The parameters of one operator's setting TLVS."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._templates = [
            _Template(int(matched["tag"], 16), matched["kind"] or "text", matched["value"])
            for entry in entries
            if (matched := TLV.fullmatch(entry))
        ]

    def of(self, message: DeliveryRequested) -> list[smpp34.Tlv]:
        """The parameters of a message, without those whose value is empty.

        Raises ValueError for a value that is not of its type: it comes from the message's metadata.
        """
        if not self._templates:
            return []
        values = values_of(message)
        filled = ((template, fill_text(template.value, values)) for template in self._templates)
        return [smpp34.Tlv(template.tag, _octets(template.kind, value)) for template, value in filled if value]


def _octets(kind: str, value: str) -> bytes:
    if kind.startswith("int"):
        try:
            return int(value).to_bytes(int(kind[3:]))
        except OverflowError:
            raise ValueError(f"{value} does not fit {kind}") from None
    octets = bytes.fromhex(value) if kind == "hex" else value.encode("latin-1")
    if kind == "cstring":
        octets += b"\0"
    if len(octets) > _LONGEST:
        raise ValueError("a parameter has 255 octets at the most")
    return octets
