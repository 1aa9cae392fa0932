"""Mobile numbers: E.164 from what callers write, by the `phonenumbers` library.

Its parser takes tens of microseconds, which counts in a batch of 10,000. Numbers of the default region in their usual
forms are checked against the same library's pattern for that region's mobiles directly.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

_MOBILE = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
# Digits of any script and the usual punctuation; E.164 itself has 15 digits. The library's parser would also take
# numbers out of prose, letters for digits and extensions, which in a recipient are mistakes.
_WRITTEN = re.compile(r"\+?[\d ().\-/]{1,40}")


# What pages and address books put around numbers so that they read from left to right; nobody sees it.
_UNSEEN = dict.fromkeys(
    map(ord, "\u200b\u200c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
)


class NotMobile(ValueError):
    """The number is no mobile number"""


class _Region(NamedTuple):
    country_code: str
    trunk_prefix: str
    mobile: re.Pattern[str]


@cache
def _region(region: str) -> _Region:
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.mobile is None or not metadata.mobile.national_number_pattern:
        raise NotMobile(f"The region {region} is unknown.")
    mobile = re.compile(metadata.mobile.national_number_pattern, re.ASCII)
    return _Region(f"+{metadata.country_code}", metadata.national_prefix or "", mobile)


def to_e164(number: str, *, region: str) -> str:
    """The number in E.164. National forms are taken as of `region`. Raises NotMobile with the reason."""
    home = _region(region)
    if number.startswith(home.country_code):
        national = number[len(home.country_code) :]
    elif home.trunk_prefix and number.startswith(home.trunk_prefix):
        national = number[len(home.trunk_prefix) :]
    else:
        national = ""
    if national.isascii() and national.isdigit() and home.mobile.fullmatch(national):
        return home.country_code + national
    return _parsed(number, region)


def seen(text: str) -> str:
    """A number or an id that a person copied, without the direction marks that came along."""
    return text.translate(_UNSEEN)


def _parsed(number: str, region: str) -> str:
    try:
        parsed = phonenumbers.parse(number if _WRITTEN.fullmatch(number) else "", region)
    except phonenumbers.NumberParseException:
        raise NotMobile("is not a phone number; write it as +989121234567") from None
    if not phonenumbers.is_valid_number(parsed):
        raise NotMobile("is not a number in use; write it as +989121234567")
    if phonenumbers.number_type(parsed) not in _MOBILE:
        raise NotMobile("is not a mobile number")
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


@cache
def _regions_of(country_code: int) -> str:
    return str(phonenumbers.region_code_for_country_code(country_code))


def country(e164: str) -> str:
    """The ISO 3166 code of an E.164 number's country calling code (`001` for several countries, `ZZ` if unknown)."""
    for digits in (1, 2, 3):
        code = int(e164[1 : 1 + digits])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return _regions_of(code)
    return "ZZ"
