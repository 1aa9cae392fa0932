"""Amounts as people write and read them: in major units, with the decimals that ISO 4217 gives the currency.

Everywhere else an amount is a whole number of minor units. `read` never guesses: a text with two readings is refused,
and the error names both.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# ISO 4217, list one: all other currencies have two decimals. A test compares this with the published list.
_DIGITS: Final = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),  # noqa: SIM905
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
_USUAL: Final = 2
LARGEST: Final = 2**63 - 1  # a bigint
_LONGEST: Final = 60

# Invisible characters that are copied along with an amount. Overrides (U+202D, U+202E) are not included, because they
# make a text look like another one.
_UNSEEN: Final = frozenset("\u200b\u200c\u200d\u200e\u200f\u061c\u202a\u202b\u202c\u2060\u2066\u2067\u2068\u2069\ufeff")
# Persian and Arabic have unambiguous separators: U+066B for decimals, U+066C for thousands.
_DECIMAL_ONLY: Final = "\u066b"
_THOUSANDS_ONLY: Final = "\u066c"
_ALIKE: Final = {
    **dict.fromkeys("\u2212\ufe63\uff0d", "-"),
    "\uff0b": "+",
    **dict.fromkeys("\u2019\u02bc\uff07", "'"),
    **dict.fromkeys("\uff0c\u060c", ","),
    "\uff0e": ".",
}
_WRITTEN: Final = re.compile(r"([+-]?)([0-9]+(?:[.,' \u066b\u066c][0-9]+)*)")
_SEPARATOR: Final = re.compile(r"([.,' \u066b\u066c])")


class InvalidMoney(ValueError):
    """The text is not an amount of the currency, or is ambiguous; the message explains it"""


def digits(currency: str) -> int:
    """How many decimal digits a major unit of the currency has."""
    return _DIGITS.get(currency, _USUAL)


def read(text: str, currency: str, *, decimal_comma: bool = False) -> int:
    """Convert an amount in major units, such as `1,234.50`, to minor units; it may have a sign.

    Accepts digits of any script. Thousands may be separated by commas, dots, spaces, apostrophes or U+066C, also in the
    Indian way (`12,34,567.50`). The last separator is the decimal mark if it differs from those before it. A single dot
    is a decimal mark too; with `decimal_comma` also a single comma. A single dot or comma before exactly three digits
    (`1.000`) is ambiguous and refused. Raises InvalidMoney.
    """
    clean = _clean(text)
    found = _WRITTEN.fullmatch(clean)
    if found is None:
        raise InvalidMoney(_hint(currency))
    sign, body = found[1], found[2]
    whole, fraction = _parts(body, currency, decimal_comma=decimal_comma)
    places = digits(currency)
    if len(fraction) > places:
        raise InvalidMoney(_two_readings(body, whole, fraction, currency))
    if len(whole) > 19:
        raise InvalidMoney("The amount is too large.")
    minor: int = int(whole) * 10**places + int(fraction.ljust(places, "0") or 0)
    if minor > LARGEST:
        raise InvalidMoney("The amount is too large.")
    return -minor if sign == "-" else minor


def read_minor(text: str) -> int:
    """Read a whole number of minor units, with an optional sign and no separators. Raises InvalidMoney."""
    found = re.fullmatch(r"[+-]?[0-9]{1,19}", _clean(text))
    if found is None or abs(int(found[0])) > LARGEST:
        raise InvalidMoney(f"Write a whole number of minor units up to {LARGEST}, without separators.")
    return int(found[0])


def formatted(minor: int, currency: str) -> str:
    """The amount in major units, with commas between thousands, without the currency."""
    places = digits(currency)
    whole, fraction = divmod(abs(minor), 10**places)
    sign = "-" if minor < 0 else ""
    return f"{sign}{whole:,}.{fraction:0{places}}" if places else f"{sign}{whole:,}"


def for_input(minor: int, currency: str) -> str:
    """The amount in major units in a form that `read` accepts, for form fields and files: no thousands separators.

    Amounts with three decimals get a leading zero (`01.250`), because `1.250` could mean 1,250.
    """
    text = formatted(minor, currency).replace(",", "")
    sign, body = ("-", text[1:]) if minor < 0 else ("", text)
    return f"{sign}0{body}" if _is_ambiguous(*body.partition(".")[::2]) else text


def with_currency(minor: int, currency: str) -> str:
    """The amount and its currency."""
    return f"{formatted(minor, currency)} {currency}"


def _clean(text: str) -> str:
    """The text with ASCII digits and one variant of each separator."""
    if len(text) > _LONGEST:
        raise InvalidMoney(f"An amount has at most {_LONGEST} characters.")
    return "".join(_plain(letter) for letter in text if letter not in _UNSEEN).strip()


def _plain(letter: str) -> str:
    if letter.isdecimal():
        return str(unicodedata.decimal(letter))
    if unicodedata.category(letter) == "Zs":
        return " "
    return _ALIKE.get(letter, letter)


def _parts(body: str, currency: str, *, decimal_comma: bool) -> tuple[str, str]:
    """The digits before and after the decimal mark."""
    numbers, marks = _SEPARATOR.split(body)[::2], _SEPARATOR.split(body)[1::2]
    if not marks:
        return body, ""
    last, before = marks[-1], marks[:-1]
    if not before and last in ".,":
        if _is_ambiguous(*numbers) or (last == "," and not decimal_comma):
            raise InvalidMoney(_two_readings(body, numbers[0], numbers[1], currency))
        return numbers[0], numbers[1]
    has_decimals = last == _DECIMAL_ONLY or (last in ".," and last not in before)
    groups, between = (numbers[:-1], before) if has_decimals else (numbers, marks)
    if len(set(between)) > 1 or _DECIMAL_ONLY in between or not _is_grouped(groups, between):
        raise InvalidMoney(_hint(currency))
    return "".join(groups), numbers[-1] if has_decimals else ""


def _is_grouped(groups: list[str], between: list[str]) -> bool:
    """Whether these are groups of thousands, or of lakhs and crores."""
    if len(groups) == 1:
        return True
    first, middle, last = groups[0], groups[1:-1], groups[-1]
    if first.startswith("0") or len(last) != 3:
        return False
    if len(first) <= 3 and all(len(group) == 3 for group in middle):
        return True
    return between[0] != "." and len(first) <= 2 and all(len(group) == 2 for group in middle)


def _is_ambiguous(whole: str, fraction: str) -> bool:
    """Whether the mark between them may separate thousands or decimals."""
    return len(fraction) == 3 and len(whole) <= 3 and not whole.startswith("0")


def _two_readings(body: str, whole: str, fraction: str, currency: str) -> str:
    """The error that names each amount that the text may mean, and how to write it."""
    places = digits(currency)
    rest = fraction.rstrip("0")
    readings, spellings = [], []
    if len(rest) <= places:
        minor = int(whole) * 10**places + int(rest.ljust(places, "0") or 0)
        readings.append(with_currency(minor, currency))
        spellings.append(for_input(minor, currency))
    else:
        readings.append(f"{int(whole):,}.{fraction} {currency} (too many decimals)")
    has = f"{currency} has {places} decimal digits." if places else f"{currency} has no decimals."
    if not whole.startswith("0"):  # no number in groups begins with 0: 0.005 is never 5
        thousands = int(whole + fraction) * 10**places
        readings.append(with_currency(thousands, currency))
        spellings.append(for_input(thousands, currency))
    write = f" Write {' or '.join(spellings)}." if spellings else ""
    return f"{body!r} can be read as {' or as '.join(readings)}. {has}{write}"


def _hint(currency: str) -> str:
    amount = 1234567 * 10 ** digits(currency)
    return f"Write an amount of {currency} as {for_input(amount, currency)} or {formatted(amount, currency)}."
