"""Encodings and segments (3GPP TS 23.038, 23.040)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sms.encoding import BASIC, EXTENSION, encode


def test_the_alphabet_is_the_whole_of_gsm_03_38() -> None:
    assert len(BASIC) == 127  # 128 places, one of them the escape
    assert len(EXTENSION) == 10
    assert not BASIC & EXTENSION


@pytest.mark.parametrize(
    ("text", "encoding", "segments"),
    [
        ("a" * 160, "gsm7", 1),
        ("a" * 161, "gsm7", 2),
        ("a" * 306, "gsm7", 2),
        ("a" * 307, "gsm7", 3),
        ("€" * 80, "gsm7", 1),
        ("€" * 81, "gsm7", 2),
        # 76 signs of two septets fill 152 of 153: the last septet of a part stays empty rather than part a sign.
        ("€" * 152, "gsm7", 2),
        ("€" * 153, "gsm7", 3),
        ("a" * 152 + "€" + "a" * 153, "gsm7", 3),
        ("س" * 70, "ucs2", 1),
        ("س" * 71, "ucs2", 2),
        ("س" * 134, "ucs2", 2),
        ("س" * 135, "ucs2", 3),
        ("😀" * 35, "ucs2", 1),
        ("😀" * 36, "ucs2", 2),
        # 33 surrogate pairs fill 66 of 67 units.
        ("😀" * 66, "ucs2", 2),
        ("😀" * 67, "ucs2", 3),
        ("`", "ucs2", 1),
        ("ç", "ucs2", 1),
        ("Ç", "gsm7", 1),
        ("", "gsm7", 1),
    ],
)
def test_segments_of(text: str, encoding: str, segments: int) -> None:
    assert encode(text) == (encoding, segments)


def reference_segments(units: list[int], single: int, part: int) -> int:
    """Fill parts one character at a time, the plain way."""
    if sum(units) <= single:
        return 1
    parts = [0]
    for unit in units:
        if parts[-1] + unit > part:
            parts.append(0)
        parts[-1] += unit
    return len(parts)


@given(st.text(alphabet=st.sampled_from(sorted(BASIC | EXTENSION)), max_size=800))
def test_gsm7_parts_are_filled_without_parting_an_escape_from_its_character(text: str) -> None:
    units = [2 if character in EXTENSION else 1 for character in text]
    assert encode(text) == ("gsm7", reference_segments(units, 160, 153))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=400).map(lambda text: text + "س"))
def test_ucs2_parts_are_filled_without_parting_a_surrogate_pair(text: str) -> None:
    units = [len(character.encode("utf-16-be")) // 2 for character in text]
    assert encode(text) == ("ucs2", reference_segments(units, 70, 67))
