"""Mobile numbers."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sms.numbers import NotMobile, country, to_e164


@pytest.mark.parametrize(
    "written",
    [
        "+989121234567",
        "09121234567",
        "00989121234567",
        "+98 912 123 4567",
        "0912-123-4567",
        "۰۹۱۲۱۲۳۴۵۶۷",
        "9121234567",
    ],
)
def test_the_forms_people_write_become_e164(written: str) -> None:
    assert to_e164(written, region="IR") == "+989121234567"


def test_numbers_of_other_countries_are_taken_in_international_form() -> None:
    assert to_e164("+447400123456", region="IR") == "+447400123456"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "not a phone number"),
        ("hello", "not a phone number"),
        ("+982122334455", "not a mobile number"),
        ("0912123456", "not a number in use"),
        ("+98912123456789", "not a number in use"),
        ("1" * 42, "not a phone number"),
        ("09121234567 ext. 5", "not a phone number"),
        ("call 09121234567", "not a phone number"),
        ("+9891212345x7", "not a phone number"),
        ("09121234567\x00", "not a phone number"),
    ],
)
def test_what_is_no_mobile_is_refused_with_the_reason(written: str, reason: str) -> None:
    with pytest.raises(NotMobile, match=reason):
        to_e164(written, region="IR")


def library_says(written: str) -> str | None:
    try:
        parsed = phonenumbers.parse(written, "IR")
    except phonenumbers.NumberParseException:
        return None
    mobile = phonenumbers.number_type(parsed) in (
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
    )
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) if mobile else None


@given(st.from_regex(r"(\+98|0|0098|98)?9[0-9]{8,10}", fullmatch=True))
def test_the_short_way_answers_what_the_library_answers(written: str) -> None:
    try:
        answer = to_e164(written, region="IR")
    except NotMobile:
        answer = None
    assert answer == library_says(written)


def test_country_of_a_number() -> None:
    assert [country(number) for number in ("+989121234567", "+447400123456", "+12025550123")] == ["IR", "GB", "US"]
