"""Ids in every notation: a receipt finds its own message or none, never another one.

RECEIPT_PAIRS: pairs of messages for each combination of settings (default 100).
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable

import pytest

from apps.sms.operators.message_ids import ID_COMPARISONS, ID_NOTATIONS, TLV_ID_NOTATIONS, IdFault, MessageIds

PAIRS = int(os.environ.get("RECEIPT_PAIRS", "100"))
SETTINGS = list(itertools.product(ID_NOTATIONS, TLV_ID_NOTATIONS, ID_COMPARISONS))

Write = Callable[[int], str]
# How an SMSC may write its number of a message, by the base.
WAYS: dict[int, list[Write]] = {
    10: [str, lambda number: f"{number:010d}", lambda number: f"{number:020d}"],
    16: [
        lambda number: f"{number:x}",
        lambda number: f"{number:X}",
        lambda number: f"{number:010x}",
        lambda number: f"{number:08X}",
    ],
}
BASES = {"as-is": None, "decimal": (10, 10), "hexadecimal": (16, 16), "hex-then-decimal": (16, 10)} | {
    "decimal-then-hex": (10, 16)
}


def numbers() -> tuple[int, int]:
    """Two numbers of which one is often the other's neighbour, its hexadecimal form, or a part of it."""
    first = random.choice([random.randrange(100), random.randrange(10**6), random.randrange(10**12)])
    second = random.choice(
        [random.randrange(100), random.randrange(10**12), first + 1, int(str(first), 16), first * 16, first // 10]
    )
    return first, second


@pytest.mark.parametrize(("notation", "parameter", "comparison"), SETTINGS)
def test_a_receipt_never_names_another_message(notation: str, parameter: str, comparison: str) -> None:
    ids = MessageIds(notation=notation, parameter=parameter, comparison=comparison)
    named = 0
    for _ in range(PAIRS):
        mine, other = numbers()
        of_answer, of_text = BASES[notation] or (random.choice([10, 16]),) * 2
        if parameter != "auto" and notation == "as-is":
            of_answer = of_text = 10  # the help says that ids are numbers then
        of_parameter = {"auto": random.choice([of_answer, of_text]), "decimal": 10, "hexadecimal": 16}[parameter]
        if notation == "as-is" and parameter == "auto":
            of_parameter = random.choice([10, 16])
        answer, text, tlv = (random.choice(WAYS[base]) for base in (of_answer, of_text, of_parameter))
        if notation == "as-is":
            # The parameter or the text has the response's form; zeros and case differ where the settings allow it.
            text = answer if comparison == "exact" else text
        if ids.answered(answer(mine)) == ids.answered(answer(other)):
            continue
        places = random.choice([("text",), ("parameter", "text"), ("parameter", "text"), ("parameter",)])
        if notation == "as-is" and places == ("parameter",):
            tlv = answer if parameter == "auto" else tlv
        found = ids.receipted(
            parameter=tlv(mine) if "parameter" in places else "", text=text(mine) if "text" in places else ""
        )
        if isinstance(found, IdFault):
            assert found.hint
            continue
        named += found == ids.answered(answer(mine))
        assert found != ids.answered(answer(other)), (answer(mine), answer(other), text(mine), tlv(mine), places)
    assert named > PAIRS / 10


@pytest.mark.parametrize(("notation", "parameter", "comparison"), SETTINGS)
def test_a_receipt_with_the_ids_of_two_messages_names_none_or_that_of_the_standards_parameter(
    notation: str, parameter: str, comparison: str
) -> None:
    ids = MessageIds(notation=notation, parameter=parameter, comparison=comparison)
    for _ in range(PAIRS):
        mine, other = random.sample(range(10**11, 10**12), 2)
        of_answer, of_text = BASES[notation] or (10, 10)
        of_parameter = {"auto": of_answer, "decimal": 10, "hexadecimal": 16}[parameter]
        found = ids.receipted(parameter=WAYS[of_parameter][0](mine), text=WAYS[of_text][0](other))
        assert isinstance(found, IdFault)


@pytest.mark.parametrize(
    ("settings", "answer", "parameter", "text", "expected"),
    [
        ({}, "A0B", "A0B", "2571", "A0B"),
        ({}, "77", "77", "0000000077", "77"),
        ({}, "a0b", "A0B", "a0b", "A0B"),
        ({"comparison": "ignore-case"}, "a0b", "A0B", "a0b", "a0b"),
        ({"comparison": "ignore-zeros"}, "0000", "", "0", "0"),
        ({"comparison": "numeric"}, "A-1", "", "A-1", "A-1"),
        ({"notation": "hex-then-decimal"}, "A0B", "A0B", "2571", "2571"),
        ({"notation": "hex-then-decimal"}, "A0B", "2571", "2571", "2571"),
        ({"notation": "hex-then-decimal"}, "A0B", "A0B", "", "2571"),
        ({"notation": "hex-then-decimal", "parameter": "decimal"}, "A0B", "2571", "", "2571"),
        ({"notation": "hexadecimal"}, "0A0B", "a0b", "00a0b", "2571"),
        ({"notation": "decimal", "parameter": "hexadecimal"}, "2571", "A0B", "2571", "2571"),
        ({"parameter": "hexadecimal"}, "2571", "A0B", "2571", "2571"),
        ({"notation": "hexadecimal"}, "0x1F", "", "1f", "31"),
        ({"notation": "hexadecimal"}, "not-hex", "", "not-hex", "not-hex"),
    ],
)
def test_ids_meet(settings: dict[str, str], answer: str, parameter: str, text: str, expected: str) -> None:
    ids = MessageIds(**settings)  # type: ignore[arg-type]
    assert ids.receipted(parameter=parameter, text=text) == expected
    if settings.get("comparison") != "exact" and answer != "a0b":
        assert ids.answered(answer) == expected


@pytest.mark.parametrize(
    ("parameter", "text"), [("16", "22"), ("22", "16"), ("0077", "77"), ("77", "78"), ("A0B", "2572")]
)
def test_ids_that_disagree_name_no_message(parameter: str, text: str) -> None:
    found = MessageIds().receipted(parameter=parameter, text=text)
    assert isinstance(found, IdFault)
    assert found.hint
