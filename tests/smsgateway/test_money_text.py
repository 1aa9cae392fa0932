"""Amounts as people write them: each text has one reading, or is refused with both."""

from __future__ import annotations

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgateway import money

CURRENCIES = ["EUR", "JPY", "KWD", "CLF", "IRR"]


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("1,234.5", "IRR", 123_450),
        ("1234.50", "EUR", 123_450),
        (" 7 ", "EUR", 700),
        ("-0.01", "EUR", -1),
        ("\u22125", "EUR", -500),
        ("-0", "EUR", 0),
        ("+5", "JPY", 5),
        ("12,345,678", "JPY", 12_345_678),
        ("01.005", "KWD", 1005),
        ("0.005", "KWD", 5),
        ("1,234.005", "KWD", 1_234_005),
        ("1\u066b005", "KWD", 1005),
        ("1.2345", "CLF", 12_345),
        ("۱۲٫۵", "EUR", 1250),
        ("١٬٠٠٠٫٥٠", "IRR", 100_050),
        ("١٬٠٠٠", "IRR", 100_000),
        ("１２３", "IRR", 12_300),
        ("1.234,50", "EUR", 123_450),
        ("1.234.567", "EUR", 123_456_700),
        ("12,34,567.50", "EUR", 123_456_750),
        ("1,00,000", "EUR", 10_000_000),
        ("1 000", "EUR", 100_000),
        ("1\u00a0000,50", "EUR", 100_050),
        ("1\u202f234\u202f567.5", "EUR", 123_456_750),
        ("1'000.50", "EUR", 100_050),
        ("1\u2019000", "EUR", 100_000),
        ("\u200e1234.50\u200f", "EUR", 123_450),
        ("92233720368547758.07", "EUR", 2**63 - 1),
        ("9223372036854775807", "JPY", 2**63 - 1),
    ],
)
def test_amounts_are_read(text: str, currency: str, minor: int) -> None:
    assert money.read(text, currency) == minor


@pytest.mark.parametrize("currency", ["IRR", "EUR", "JPY", "KWD"])
@pytest.mark.parametrize("text", ["1.000", "1,000", "-1.000", "٫".join(["1", "0000"])])
def test_ambiguous_amounts_are_refused_in_every_currency(text: str, currency: str) -> None:
    with pytest.raises(money.InvalidMoney, match=f"can be read as .*{currency}.* or as .*{currency}"):
        money.read(text, currency)


@pytest.mark.parametrize(
    ("text", "currency", "error"),
    [
        ("1.000", "IRR", "1.00 IRR or as 1,000.00 IRR. IRR has 2 decimal digits. Write 1.00 or 1000.00."),
        ("1.000", "KWD", "1.000 KWD or as 1,000.000 KWD. KWD has 3 decimal digits. Write 01.000 or 1000.000."),
        ("5.0", "JPY", "5 JPY or as 50 JPY. JPY has no decimals. Write 5 or 50."),
        ("1.005", "EUR", "1.005 EUR (too many decimals) or as 1,005.00 EUR. EUR has 2 decimal digits. Write 1005.00."),
        ("0.005", "EUR", "0.005 EUR (too many decimals). EUR has 2 decimal digits."),
        ("0.500", "EUR", "0.50 EUR. EUR has 2 decimal digits. Write 0.50."),
        ("0,5", "EUR", "0.50 EUR. EUR has 2 decimal digits. Write 0.50."),
        ("1,00", "EUR", "1.00 EUR or as 100.00 EUR. EUR has 2 decimal digits. Write 1.00 or 100.00."),
    ],
)
def test_each_reading_is_named_and_how_to_write_it(text: str, currency: str, error: str) -> None:
    with pytest.raises(money.InvalidMoney) as refused:
        money.read(text, currency)
    assert str(refused.value) == f"{text!r} can be read as {error}"


@pytest.mark.parametrize(
    "text",
    [
        *["", "1.005", "1,00", "12,34", "1.", ".5", "1e3", "0x1", "--1", "²", "9" * 19, "1_000", "5-", "(5)", "5 EUR"],
        *["inf", "-Infinity", "nan", "NaN", "1.2.3", "1,23,45", "0,001,000", "1,000,00", "1,0000", "12.34,5.6"],
        *[
            "1  000",
            "1 00",
            "0 100",
            "1,000 000",
            "\u202e1234",
            "1\n000",
            "9" * 5000,
            "92233720368547758.08",
            "5.",
            "+",
            "1½",
        ],
    ],
)
def test_texts_that_are_not_amounts_are_refused(text: str) -> None:
    with pytest.raises(money.InvalidMoney):
        money.read(text, "EUR")


def test_a_decimal_comma_is_read_where_allowed_and_never_before_three_digits() -> None:
    assert money.read("0,60", "EUR", decimal_comma=True) == 60
    for text in ("1,000", "1,0000"):
        with pytest.raises(money.InvalidMoney):
            money.read(text, "EUR", decimal_comma=True)


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(CURRENCIES))
def test_amounts_in_forms_and_files_are_read_back_unchanged(minor: int, currency: str) -> None:
    assert money.read(money.for_input(minor, currency), currency) == minor


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(CURRENCIES))
def test_displayed_amounts_are_read_back_unchanged_or_refused(minor: int, currency: str) -> None:
    try:
        read = money.read(money.formatted(minor, currency), currency)
    except money.InvalidMoney:
        assert abs(minor) < 10**6  # one separator before three digits
    else:
        assert read == minor


@given(st.text("0123456789.,' -+\u066b\u066c٣", max_size=14), st.sampled_from(CURRENCIES))
def test_no_text_is_read_as_more_than_its_digits(text: str, currency: str) -> None:
    """However it is read: without its separators it is the largest that it may mean."""
    try:
        minor = money.read(text, currency)
    except money.InvalidMoney:
        return
    all_digits = "".join(letter for letter in text if letter.isdecimal())
    assert abs(minor) <= int(all_digits) * 10 ** money.digits(currency)
    assert money.read(money.for_input(minor, currency), currency) == minor


@pytest.mark.parametrize(
    "text", ["1_000", "1.0", "1,000", "1 000", "1e3", "inf", "", "²", "9" * 20, "9" * 5000, str(2**63)]
)
def test_minor_units_are_whole_numbers_without_separators(text: str) -> None:
    with pytest.raises(money.InvalidMoney):
        money.read_minor(text)
    assert money.read_minor(" ۱۲۳ ") == 123
    assert money.read_minor("\u22125") == -5


def test_the_decimals_of_every_currency_are_those_of_iso_4217() -> None:
    published = {currency.code: currency.exponent for currency in iso4217.Currency if currency.exponent is not None}
    assert len(published) > 150
    assert {code: money.digits(code) for code in published} == published


def test_amounts_are_written_with_thousands_and_the_currencys_decimals() -> None:
    assert money.with_currency(123_456_789, "EUR") == "1,234,567.89 EUR"
    assert money.with_currency(-5, "EUR") == "-0.05 EUR"
    assert money.with_currency(1234, "JPY") == "1,234 JPY"
