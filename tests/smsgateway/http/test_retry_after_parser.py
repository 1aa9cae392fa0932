"""Retry-After as others write it: usable, or as if it were not there."""

from __future__ import annotations

import datetime as dt
import email.utils
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsgateway.http.retry_after_parser import retry_after_seconds

YEAR = 366 * 86_400


@pytest.mark.parametrize(
    "text", ["0", "7", " 7 ", "007", "86400", "0000000000000007", str(YEAR), "Wed, 21 Oct 2015 07:28:00 GMT"]
)
def test_seconds_are_taken_and_a_date_that_has_passed_is_now(text: str) -> None:
    expected = float(text) if text.strip().isdigit() else 0.0
    assert retry_after_seconds([text]) == expected


@pytest.mark.parametrize(
    "form",
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y", "%d %b %Y %H:%M:%S +0000"],
)
def test_every_form_of_a_date_is_read_as_utc(form: str) -> None:
    before = dt.datetime.now(dt.UTC)
    ahead = before.replace(microsecond=0) + dt.timedelta(hours=1)
    seconds = retry_after_seconds([ahead.strftime(form)])
    assert seconds is not None
    assert (ahead - dt.datetime.now(dt.UTC)).total_seconds() <= seconds <= (ahead - before).total_seconds()


@pytest.mark.parametrize(
    "values",
    [
        ["Thu, 01 Dec 99999999999999 16:00:00 GMT"],
        ["Thu, 01 Dec 2030 16:00:00 +99999999999999999999"],
        ["Fri, 31 Dec 9999 23:59:59 GMT"],
        ["Thu, 32 Dec 2030 16:00:00 GMT"],
        ["Thu, 0\u0661 Dec 2030 16:00:00 GMT"],
        ["\u0661\u0662"],
        ["\uff17"],
        ["7\u00b2"],
        [str(YEAR + 1)],
        ["9" * 400],
        ["9" * 5000],
        ["-1"],
        ["+1"],
        ["1.5"],
        ["1e3"],
        ["0x10"],
        ["inf"],
        ["-inf"],
        ["NaN"],
        ["soon"],
        [""],
        ["   "],
        [","],
        ["7, 7"],
        ["7;7"],
        ["7", "7"],
        ["7", "9"],
        [],
    ],
)
def test_an_unusable_value_counts_as_absent(values: list[str]) -> None:
    assert retry_after_seconds(values) is None


# Texts that begin like what the parser knows reach more of it than arbitrary ones.
dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Thu", "Thursday", "", "\u067e"]),
    *(st.one_of(st.integers().map(str), st.sampled_from(["Dec", "-", "\u0661", "nan", "1e9"])) for _ in range(6)),
    st.one_of(st.sampled_from(["GMT", "EST", "-0000", ""]), st.integers().map("{:+}".format)),
)


@given(st.lists(st.one_of(st.text(), dates, st.integers().map(str), st.floats().map(str)), max_size=2))
@example(["Thu, 01 Dec 99999999999999 16:00:00 GMT"])
@example(["\ud800"])
def test_no_text_raises_and_every_result_is_a_possible_wait(values: list[str]) -> None:
    seconds = retry_after_seconds(values)
    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= YEAR)


@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(9999, 12, 31)))
def test_every_date_is_read_or_too_far_ahead(moment: dt.datetime) -> None:
    ahead = (moment.replace(tzinfo=dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds()
    seconds = retry_after_seconds([email.utils.format_datetime(moment.replace(tzinfo=dt.UTC), usegmt=True)])
    if ahead > YEAR + 60:
        assert seconds is None
    elif ahead < YEAR - 60:
        assert seconds == pytest.approx(max(0.0, ahead), abs=60)
