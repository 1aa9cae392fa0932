"""Encodes texts as GSM 7-bit or UCS-2, and counts their segments.

Source: 3GPP TS 23.038 (alphabet, extension table), 3GPP TS 23.040 (concatenation: a user data header of 6 octets takes
7 septets or 3 UTF-16 units of each segment).
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from unicodedata import combining, is_normalized, normalize

AUTO: Final = "auto"
GSM7: Final = "gsm7"
UCS2: Final = "ucs2"

BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
# Each is sent as an escape and a septet. Both are always in the same segment.
EXTENSION: Final = frozenset("\f^{}\\[~]|€")

# A part's number is one octet of the user data header.
MAX_SEGMENTS: Final = 255

_GSM7_SINGLE, _GSM7_PART = 160, 153
_UCS2_SINGLE, _UCS2_PART = 70, 67


# Typographic characters, which word processors and web pages insert, and their GSM 7-bit forms.
_TYPOGRAPHIC: Final = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2039\u203a`\u00b4", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a", " ")
    | dict.fromkeys("\u202f\u205f\u3000", " ")
    | dict.fromkeys("\u0085\u2028\u2029", "\n")
    # Invisible: soft hyphens, joiners, direction marks, variation selectors. Persian needs joiners, and keeps them: its
    # letters are not in GSM 7-bit.
    | dict.fromkeys("\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff", "")
    | dict.fromkeys("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", "")
    | {"\u2026": "...", "\u2022": "*", "\u00b7": "*"}
    | {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"}
)
# Combining marks on one letter. Unicode's Stream-Safe Text Format (UAX 15) allows no more.
_MAX_MARKS: Final = 30
_NOT_GSM7: Final = re.compile("[^" + re.escape("".join(sorted(BASIC | EXTENSION))) + "]")

Wish = Literal["auto", "gsm7", "ucs2"]


class NotGsm7(ValueError):
    """The text has characters that GSM 7-bit lacks; `characters` are up to ten of them."""

    def __init__(self, text: str) -> None:
        self.characters = list(dict.fromkeys(_NOT_GSM7.findall(text)))[:10]
        super().__init__(", ".join(f"U+{ord(character):04X}" for character in self.characters))


class Encoded(NamedTuple):
    """`encoding`: `gsm7` or `ucs2`. `segments`: how many are sent and charged."""

    encoding: str
    segments: int


def encode(text: str, wish: Wish = AUTO) -> Encoded:
    """The encoding and the number of segments of a text. `auto`: GSM 7-bit if it has every character, else UCS-2.

    Raises NotGsm7 if the wish is `gsm7` and the text has other characters.
    """
    others = set(text) - BASIC
    if wish != UCS2:
        if not others:
            return Encoded(GSM7, _segments([1], len(text), _GSM7_SINGLE, _GSM7_PART))
        if others <= EXTENSION:
            widths = [2 if character in EXTENSION else 1 for character in text]
            return Encoded(GSM7, _segments(widths, sum(widths), _GSM7_SINGLE, _GSM7_PART))
        if wish == GSM7:
            raise NotGsm7(text)
    if not others or max(others) <= "\uffff":
        return Encoded(UCS2, _segments([1], len(text), _UCS2_SINGLE, _UCS2_PART))
    widths = [2 if character > "\uffff" else 1 for character in text]  # a surrogate pair is never split
    return Encoded(UCS2, _segments(widths, sum(widths), _UCS2_SINGLE, _UCS2_PART))


def prepare(text: str, *, transliterate: bool, wish: Wish = AUTO) -> str:
    """The text as it is sent. All limits apply to this text.

    `transliterate`: compose it (Unicode NFC: an e and an accent become é), and replace typographic characters if that
    makes it GSM 7-bit. A text that needs UCS-2 anyway keeps its typography.
    """
    if not transliterate:
        return text
    composed = _compose(text)
    if wish == UCS2:
        return composed
    plain = _compose(composed.translate(_TYPOGRAPHIC))  # again: it may have removed a character in between
    return composed if _NOT_GSM7.search(plain) else plain


def _compose(text: str) -> str:
    """The text in Unicode NFC; unchanged if it has so many marks that composing takes quadratic time."""
    if text.isascii() or is_normalized("NFC", text):
        return text
    marks = 0
    for character in text:
        marks = marks + 1 if combining(character) else 0
        if marks > _MAX_MARKS:
            return text
    return normalize("NFC", text)


def _segments(widths: list[int], total: int, single: int, part: int) -> int:
    """The segments of a text of `total` units. `widths`: of each character, or one entry if all are equal."""
    if total <= single:
        return 1
    if len(widths) == 1:
        return -(-total // part)
    segments, used = 1, 0
    for width in widths:
        if used + width > part:
            segments += 1
            used = 0
        used += width
    return segments
