"""Texts as octets of the GSM 7-bit default alphabet, one octet per septet, as SMSCs expect them with data coding 0.

Source: 3GPP TS 23.038, section 6.2.1.
"""

from __future__ import annotations

import codecs
from typing import Final

# The character of each septet; 0x1B is the escape to the extension table.
_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
ESCAPE: Final = 0x1B

_OCTETS: Final[dict[int, bytes]] = {
    ord(character): bytes([septet]) for septet, character in enumerate(_BASIC) if septet != ESCAPE
} | {ord(character): bytes([ESCAPE, septet]) for character, septet in _EXTENSION.items()}
_CHARACTERS: Final = {septet: character for character, septet in _EXTENSION.items()}


def encode(text: str) -> bytes:
    """The octets of a text. Raises UnicodeEncodeError for a character that is not in the alphabet."""
    return codecs.charmap_encode(text, "strict", _OCTETS)[0]


def decode(octets: bytes) -> str:
    """The text of these octets. Unknown ones are read as 3GPP TS 23.038 demands: a lone escape is a space, an extension
    that is not in the table is the basic character."""
    text = []
    escaped = False
    for octet in octets:
        septet = octet & 0x7F
        if escaped:
            text.append(_CHARACTERS.get(septet, _BASIC[septet]))
            escaped = False
        elif septet == ESCAPE:
            escaped = True
        else:
            text.append(_BASIC[septet])
    return "".join(text) + (" " if escaped else "")


def pack(septets: bytes, *, fill: int = 0) -> bytes:
    """The septets, one in each octet, packed: 8 in 7 octets, after `fill` bits of zeros (3GPP TS 23.038, 6.1.2.1).

    Where 7 bits are left, they are a carriage return: zeros would be read as one more character (6.1.2.3.1).
    """
    if (len(septets) * 7 + fill) % 8 == 1:
        septets += b"\r"
    packed, held, bits = bytearray(), 0, fill
    for septet in septets:
        held |= (septet & 0x7F) << bits
        bits += 7
        while bits >= 8:
            packed.append(held & 0xFF)
            held >>= 8
            bits -= 8
    if bits:
        packed.append(held & 0xFF)
    return bytes(packed)


def unpack(octets: bytes, *, fill: int = 0) -> bytes:
    """The septets of packed octets, one in each octet."""
    septets, held, bits = bytearray(), 0, 0
    for octet in octets:
        held |= octet << bits
        bits += 8
        if fill:
            held >>= fill
            bits -= fill
            fill = 0
        while bits >= 7:
            septets.append(held & 0x7F)
            held >>= 7
            bits -= 7
    return bytes(septets)
