"""The alphabets that operators mean by their default data coding, and texts in them, cut into parts.

The standard leaves data_coding 0 to the SMSC: most take GSM 7-bit with one octet per character, some packed septets,
Latin-1 or ASCII. Source: SMPP 3.4, section 5.2.19; 3GPP TS 23.038 and 23.040.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from apps.sms import encoding
from apps.sms.operators.smpp import gsm7

UCS2_CODING: Final = 0x08

# Octets of a single part: septets of GSM 7-bit, which SMPP carries in an octet each, or octets of UCS-2.
_GSM7_SINGLE, _UCS2_SINGLE = 160, 140
# Of one of several parts, where a header with a reference of 8 bits takes 6 octets, and with 16 bits 7.
_GSM7_PART: Final = {8: 153, 16: 152}
_UCS2_PART: Final = {8: 134, 16: 132}
_HEADER_BITS: Final = {8: 48, 16: 56}
_PYTHON_NAMES: Final = {"latin-1": "latin-1", "ascii": "ascii"}


class Parts(NamedTuple):
    """A text cut into parts. `reference_bits`: of the reference that the parts leave room for."""

    octets: list[bytes]
    data_coding: int
    reference_bits: int = 8


def parts_of(
    text: str, coding: str, *, alphabet: str = "gsm", data_coding: int = 0, reference_bits: int = 8, has_headers: bool
) -> Parts:
    """The parts of a text whose encoding is `gsm7` or `ucs2`. No escape sequence or surrogate pair is cut in two.

    A text that the alphabet of `data_coding` lacks becomes UCS-2. `has_headers`: long messages have user data headers,
    before which packed septets are padded. Raises UnicodeEncodeError if the text cannot be encoded in its encoding.
    """
    is_gsm7 = coding == encoding.GSM7
    if is_gsm7 and (name := _PYTHON_NAMES.get(alphabet)):
        try:
            text.encode(name)
        except UnicodeEncodeError:
            is_gsm7 = False
    octets = gsm7.encode(text) if is_gsm7 else text.encode("utf-16-be")
    cut = split(octets, is_gsm7=is_gsm7)
    bits = 8
    if reference_bits == 16 and len(cut) > 1:
        # The message was charged by its parts with 8 bits: it must not become more.
        wider = split(octets, is_gsm7=is_gsm7, reference_bits=16)
        if len(wider) == len(cut):
            cut, bits = wider, 16
    if not is_gsm7:
        return Parts(cut, UCS2_CODING, bits)
    fill = -_HEADER_BITS[bits] % 7 if has_headers and len(cut) > 1 else 0
    return Parts([_written(part, alphabet, fill) for part in cut], data_coding, bits)


def split(octets: bytes, *, is_gsm7: bool, reference_bits: int = 8) -> list[bytes]:
    """Cut septets of GSM 7-bit, one in each octet, or octets of UCS-2 into parts."""
    single = _GSM7_SINGLE if is_gsm7 else _UCS2_SINGLE
    part = (_GSM7_PART if is_gsm7 else _UCS2_PART)[reference_bits]
    if len(octets) <= single:
        return [octets]
    parts, start = [], 0
    while start < len(octets):
        end = start + part
        if end < len(octets):
            if is_gsm7:
                end -= octets[end - 1] == gsm7.ESCAPE
            elif 0xD8 <= octets[end - 2] <= 0xDB:
                end -= 2  # the first half of a surrogate pair
        parts.append(octets[start:end])
        start = end
    return parts


def whole(text: str, coding: str, *, alphabet: str = "gsm") -> bytes:
    """The octets of a text that is not cut. Raises UnicodeEncodeError."""
    if coding != encoding.GSM7:
        return text.encode("utf-16-be")
    return _written(gsm7.encode(text), alphabet, 0)


def _written(septets: bytes, alphabet: str, fill: int) -> bytes:
    if alphabet == "gsm-packed":
        return gsm7.pack(septets, fill=fill)
    if name := _PYTHON_NAMES.get(alphabet):
        return gsm7.decode(septets).encode(name)
    return septets
