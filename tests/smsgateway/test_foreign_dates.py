"""Dates that others write: every text is read or refused, and no other error is raised."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
import zoneinfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsgateway.http import query
from tests.support.smpp_receipts import reader

ZONES = ["UTC", "Asia/Tehran", "Australia/Lord_Howe", "America/Nuuk", "Pacific/Kiritimati"]
# What looks like a date gets further than arbitrary text.
digits = st.text("0123456789\u0661\uff17 +-.,TZ:", max_size=40)


@pytest.mark.parametrize("zone", ZONES)
def test_the_done_date_of_a_receipt_is_in_the_past(zone: str) -> None:
    found = reader(receipt_zone=zone)

    @given(st.one_of(st.from_regex(r"[0-9]{10}|[0-9]{12}", fullmatch=True), digits, st.text()))
    @example("9912312359")
    @example("991231235960")
    @example("6902291200")
    @example("0002300000")
    @example("\u0661\u0661\u0661\u0662\u0663\u0661\u0662\u0663\u0665\u0669")
    def read(done: str) -> None:
        moment = found._moment(done)
        assert 0 <= moment <= time.time_ns() // 1_000_000

    read()


@given(
    st.one_of(
        digits,
        st.text(),
        st.datetimes(timezones=st.timezones()).map(dt.datetime.isoformat),
        st.datetimes().map(lambda moment: f"{moment.isoformat()}+23:59"),
        st.datetimes().map(lambda moment: f"{moment.isoformat()}-23:59"),
        st.dates().map(dt.date.isoformat),
    ),
    st.sampled_from(ZONES),
)
@example("0001-01-01T00:00:00+23:59", "UTC")
@example("9999-12-31T23:59:59-23:59", "UTC")
@example("0001-01-01", "Pacific/Kiritimati")
@example("9999-12-31", "America/Nuuk")
def test_a_moment_in_a_query_is_read_or_refused(text: str, zone: str) -> None:
    with contextlib.suppress(query.Wrong):
        assert query.moment(text, midnights_of=zoneinfo.ZoneInfo(zone)).tzinfo is dt.UTC
