"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgateway import money


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("1,234.5", "IRR", 123_450),
        ("1234.50", "EUR", 123_450),
        (" 7 ", "EUR", 700),
        ("-0.01", "EUR", -1),
        ("\u22125", "EUR", -500),
        ("+5", "JPY", 5),
        ("5.0", "JPY", 5),
        ("1.005", "KWD", 1005),
        ("۱۲٫۵", "EUR", 1250),
        ("١٬٠٠٠٫٥٠", "IRR", 100_050),
        ("１２３", "IRR", 12_300),
    ],
)
def test_it_is_read(text: str, currency: str, minor: int) -> None:
    assert money.read(text, currency) == minor


@pytest.mark.parametrize(
    "text", ["", "1.005", "1,00", "12,34", "1.", ".5", "1e3", "0x1", "--1", "1 000", "1.000,50", "²", "9" * 19]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(money.InvalidMoney):
        money.read(text, "EUR")


@given(st.integers(-(2**62), 2**62), st.sampled_from(["EUR", "JPY", "KWD", "CLF", "IRR"]))
def test_what_is_written_is_read_as_the_same(minor: int, currency: str) -> None:
    if abs(minor) < 10 ** (18 + money.digits(currency)):
        assert money.read(money.written(minor, currency), currency) == minor


def test_it_is_written_with_thousands_and_the_currencys_digits() -> None:
    assert money.told(123_456_789, "EUR") == "1,234,567.89 EUR"
    assert money.told(-5, "EUR") == "-0.05 EUR"
    assert money.told(1234, "JPY") == "1,234 JPY"
