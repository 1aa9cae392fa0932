"""Parses mobile numbers, as people and programs write them, into E.164 with the library `phonenumbers`.

The API and the console's searches and forms all parse numbers here. The library's parser takes tens of microseconds,
which adds up in a batch of 10,000. Numbers of the default region in their usual forms are therefore matched directly
against the library's pattern for that region's mobile numbers.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from smsgateway.config.mobile_prefixes import numbers_of
from smsgateway.config.settings import Sms

_MOBILE: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
# The usual punctuation; E.164 itself has 15 digits. The library's parser would also accept extensions, letters that
# stand for digits, and numbers within prose. In a recipient those are mistakes.
_WRITTEN: Final = re.compile(r"\+?[0-9 ().\-/]{1,40}")
# Including the characters that are removed.
_LONGEST: Final = 100

# Direction marks, which web pages and address books put around numbers, and zero-width characters.
_INVISIBLE: Final = dict.fromkeys(
    [0x00AD, 0x061C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF]
)
# Typographic and full-width blanks, dashes, dots and plus signs, and their ASCII forms.
_PLAIN: Final = (
    _INVISIBLE
    | dict.fromkeys(map(ord, "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"), " ")
    | dict.fromkeys(map(ord, "\u202f\u205f\u3000"), " ")
    | dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"), "-")
    | {0xFF0B: "+", 0xFF08: "(", 0xFF09: ")", 0xFF0E: ".", 0xFF0F: "/"}
)


class NotMobile(ValueError):
    """The number is not a mobile number"""


class InvalidPrefix(ValueError):
    """The prefix matches no number"""


def without_marks(text: str) -> str:
    """The text of a number or an id, without the invisible characters that a copied text may have."""
    return text.translate(_INVISIBLE)


def ascii_digits(text: str) -> str:
    """The text with the decimal digits of every script replaced by 0 to 9."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(character)) if character.isdecimal() else character for character in text)


def normalized(text: str) -> str:
    """The text with ASCII digits and punctuation, without invisible characters and surrounding whitespace."""
    return ascii_digits(text.translate(_PLAIN)).strip()


class NumberPlan:
    """Parses numbers. A national number belongs to the plan's region. Use `plan` or `plan_of` to get one."""

    def __init__(self, region: str, more: tuple[str, ...]) -> None:
        metadata = PhoneMetadata.metadata_for_region(region)
        if metadata is None or metadata.mobile is None or not metadata.mobile.national_number_pattern:
            raise NotMobile(f"The region {region} is unknown.")
        self._region = region
        self._country_code = str(metadata.country_code)
        self._international = f"+{self._country_code}"
        self._trunk = metadata.national_prefix or ""
        self._international_prefix = re.compile(metadata.international_prefix or "00")
        national, others = [metadata.mobile.national_number_pattern], ["(?!)"]
        for prefix in more:
            code = numbers_of(prefix)[0]
            others.append(f"{code}(?:{_pattern(prefix)})")
            if code == self._country_code:
                national.append(_pattern(prefix))
        self._mobile = re.compile("|".join(f"(?:{pattern})" for pattern in national), re.ASCII).fullmatch
        self._extra = re.compile("|".join(others)).fullmatch

    def to_e164(self, number: str) -> str:
        """The number in E.164. Raises NotMobile with the reason."""
        if found := self._usual_form(number):
            return found
        if len(number) > _LONGEST:
            raise NotMobile("is not a phone number; write it as +989121234567")
        written = normalized(number)
        if written != number and (found := self._usual_form(written)):
            return found
        return self._parse(written)

    def _usual_form(self, number: str) -> str:
        """The number in E.164 if it is a mobile number of the region in a usual form, else empty."""
        if number.startswith(self._international):
            national = number[len(self._international) :]
        elif self._trunk and number.startswith(self._trunk):
            national = number[len(self._trunk) :]
        else:
            return ""
        if national.isascii() and national.isdigit() and self._mobile(national):
            return self._international + national
        return ""

    def _parse(self, number: str) -> str:
        try:
            parsed = phonenumbers.parse(number if _WRITTEN.fullmatch(number) else "", self._region)
        except phonenumbers.NumberParseException:
            raise NotMobile("is not a phone number; write it as +989121234567") from None
        e164 = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
        if self._extra(e164[1:]):
            return e164
        if not phonenumbers.is_valid_number(parsed):
            raise NotMobile("is not a number in use; write it as +989121234567")
        if phonenumbers.number_type(parsed) not in _MOBILE:
            raise NotMobile("is not a mobile number")
        return e164

    def to_prefix(self, text: str) -> str:
        """The digits of a prefix of E.164 numbers, without the plus. Empty text is the prefix of all numbers.

        Raises InvalidPrefix, which suggests the right form if it can be guessed.
        """
        digits = normalized(text).removeprefix("+")
        if not text.strip():
            return ""
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
            raise InvalidPrefix(f"{text!r} is not digits of E.164, such as 98912")
        if digits.startswith("0"):
            works = self._without_zero(digits)
            advice = f"write {works}" if works else "begin with the country calling code, such as 98912"
            raise InvalidPrefix(f"{text!r} matches no number, because no E.164 number begins with 0; {advice}")
        return digits

    def _without_zero(self, digits: str) -> str:
        """The E.164 form of a prefix as it is dialled; empty if it cannot be guessed."""
        if (dialled := self._international_prefix.match(digits)) is not None:
            works = digits[dialled.end() :]
        elif self._trunk:
            works = self._country_code + digits.removeprefix(self._trunk)
        else:
            works = self._country_code + digits
        return "" if works.startswith("0") or len(works) > 15 else works


@cache
def plan(region: str, more: tuple[str, ...] = ()) -> NumberPlan:
    """The number plan of a region (ISO 3166). `more`: mobile prefixes that the library does not know."""
    return NumberPlan(region, more)


def plan_of(config: Sms) -> NumberPlan:
    """The number plan that the settings choose."""
    return plan(config.default_region, tuple(config.mobile_prefixes))


def to_e164(number: str, *, region: str) -> str:
    """The number in E.164. A national number belongs to `region`. Raises NotMobile with the reason."""
    return plan(region).to_e164(number)


def _pattern(prefix: str) -> str:
    """A regular expression for the national numbers under a prefix of E.164."""
    code, lengths = numbers_of(prefix)
    rest = prefix[len(code) :]
    return "|".join(f"{rest}[0-9]{{{length - len(rest)}}}" for length in lengths)


@cache
def _regions_of(country_code: int) -> str:
    return str(phonenumbers.region_code_for_country_code(country_code))


def country(e164: str) -> str:
    """The ISO 3166 code for an E.164 number's country calling code (`001`: several countries, `ZZ`: unknown)."""
    for digits in (1, 2, 3):
        code = int(e164[1 : 1 + digits])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return _regions_of(code)
    return "ZZ"
