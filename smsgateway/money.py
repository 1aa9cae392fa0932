"""Amounts as people write and read them: major units, with the digits that ISO 4217 gives the currency.

Everywhere else an amount is a whole number of minor units.
"""

from __future__ import annotations

import re
from typing import Final

# ISO 4217, list one: every other currency has two.
_DIGITS: Final = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),  # noqa: SIM905
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
_USUAL: Final = 2
# Minus, and the separators of Persian and Arabic: of thousands, of decimals.
_SIGNS: Final = str.maketrans({"\u2212": "-", "\u066c": ",", "\u066b": "."})
_WRITTEN: Final = re.compile(r"([+-]?)((?:\d{1,3}(?:,\d{3})+)|\d+)(?:\.(\d+))?")


class InvalidMoney(ValueError):
    """The text is no amount of the currency; its message tells why"""


def digits(currency: str) -> int:
    """How many decimal digits a major unit of the currency has."""
    return _DIGITS.get(currency, _USUAL)


def read(text: str, currency: str) -> int:
    """The minor units of an amount in major units, such as `1,234.50`; with a sign if it has one.

    Digits of any script, and the separators that go with them (U+066B, U+066C). Raises InvalidMoney.
    """
    found = _WRITTEN.fullmatch(text.strip().translate(_SIGNS))
    places = digits(currency)
    if found is None:
        raise InvalidMoney(f"Write an amount of {currency} as {written(123456 * 10**places, currency)}.")
    sign, whole, fraction = found[1], found[2].replace(",", ""), (found[3] or "").rstrip("0")
    if len(fraction) > places:
        raise InvalidMoney(f"{currency} has {places} decimal digits." if places else f"{currency} has no decimals.")
    if len(whole) > 18:
        raise InvalidMoney("The amount is too large.")
    minor: int = int(whole) * 10**places + int(fraction.ljust(places, "0") or 0)
    return -minor if sign == "-" else minor


def written(minor: int, currency: str) -> str:
    """The amount in major units, with commas between thousands and without the currency."""
    places = digits(currency)
    whole, fraction = divmod(abs(minor), 10**places)
    sign = "-" if minor < 0 else ""
    return f"{sign}{whole:,}.{fraction:0{places}}" if places else f"{sign}{whole:,}"


def told(minor: int, currency: str) -> str:
    """The amount and its currency."""
    return f"{written(minor, currency)} {currency}"
