"""Mobile numbers."""

from __future__ import annotations

import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sms.numbers import InvalidPrefix, NotMobile, country, plan, to_e164


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
        "\u200e+989121234567",
        "\u202a+98 912 123 4567\u202c",
        "\u202b\u202d\u202e09121234567\u202c",
        "\u2066\u2067\u2068+989121234567\u2069",
        "\u00a009121234567\u00a0",
        "09121234567\n",
        "\r\n\t 09121234567 \r\n",
        "0912\u00a0123\u202f4567",
        "0912\u2011123\u20134567",
        "\ufeff۰۹۱۲\u200c۱۲۳\u200b۴۵۶۷\u200f",
        "٠٩١٢١٢٣٤٥٦٧",
        "＋９８９１２１２３４５６７",
        "+९८९१२१२३४५६७",
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
        ("0912\n1234567", "not a phone number"),
        ("\u200e", "not a phone number"),
        ("\u200e" * 1_000_000 + "09121234567", "not a phone number"),
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


MORE = plan("IR", ("98997", "4470", "9899999"))


@pytest.mark.parametrize(
    "written", ["+989971234567", "09971234567", "00989971234567", "9971234567", "989971234567", "\u200e۰۹۹۷ ۱۲۳ ۴۵۶۷\n"]
)
def test_a_prefix_that_the_library_does_not_know_can_be_added(written: str) -> None:
    with pytest.raises(NotMobile):
        to_e164(written, region="IR")
    assert MORE.to_e164(written) == "+989971234567"


@pytest.mark.parametrize("written", ["+98997123456", "+9899712345678", "+989981234567x", "+982122334455", "0997123456"])
def test_an_added_prefix_takes_no_number_of_another_length_or_prefix(written: str) -> None:
    with pytest.raises(NotMobile):
        MORE.to_e164(written)


def test_a_prefix_of_another_country_can_be_added() -> None:
    assert MORE.to_e164("+447012345678") == "+447012345678"  # a personal number, to the library
    assert MORE.to_e164("+989121234567") == "+989121234567"


@pytest.mark.parametrize(
    ("written", "prefix"),
    [
        ("98912", "98912"),
        ("+98912", "98912"),
        ("\u200e+98912\u200f", "98912"),
        ("۹۸۹۱۲", "98912"),
        (" 98912\n", "98912"),
        ("\u00a098912\u00a0", "98912"),
        ("", ""),
        (" ", ""),
        ("1", "1"),
    ],
)
def test_a_prefix_is_digits_of_e164(written: str, prefix: str) -> None:
    assert plan("IR").to_prefix(written) == prefix


@pytest.mark.parametrize(
    ("region", "written", "advice"),
    [
        ("IR", "0912", "write 98912"),
        ("IR", "۰۹۱۲", "write 98912"),
        ("IR", "+0912", "write 98912"),
        ("IR", "00989", "write 989"),
        ("IR", "0098912", "write 98912"),
        ("IR", "00447", "write 447"),
        ("IR", "0", "write 98"),
        ("IR", "00", "begin with the country calling code, such as 98912"),
        ("IR", "0009", "begin with the country calling code, such as 98912"),
        ("IR", "0" + "9" * 14, "begin with the country calling code, such as 98912"),
        ("GB", "07", "write 447"),
        ("US", "01144", "write 44"),
        ("IR", "98x", "is not digits of E.164"),
        ("IR", "98 912", "is not digits of E.164"),
        ("IR", "+", "is not digits of E.164"),
        ("IR", "\u200e", "is not digits of E.164"),
        ("IR", "9" * 16, "is not digits of E.164"),
    ],
)
def test_a_prefix_that_would_never_match_is_refused_with_the_form_that_works(
    region: str, written: str, advice: str
) -> None:
    with pytest.raises(InvalidPrefix, match=re.escape(advice)):
        plan(region).to_prefix(written)


def test_country_of_a_number() -> None:
    assert [country(number) for number in ("+989121234567", "+447400123456", "+12025550123")] == ["IR", "GB", "US"]
