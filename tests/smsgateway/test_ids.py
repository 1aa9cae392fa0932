"""ULIDs."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgateway import ids


@given(st.uuids())
def test_text_and_id_convert_both_ways(value: UUID) -> None:
    assert ids.from_text(ids.to_text(value)) == value
    assert ids.from_text(ids.to_text(value).lower()) == value


@pytest.mark.parametrize("text", ["", "short", "U" * 26, "8" + "Z" * 25, "Z" * 26, "é" * 26, "0" * 25 + "-"])
def test_a_text_that_is_not_a_ulid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ids.from_text(text)


def test_a_batch_of_ids_ascends() -> None:
    batch = ids.new_ids(1000)
    assert batch == sorted(batch)
    assert len(set(batch)) == 1000


def test_an_id_knows_its_moment_and_bounds_a_range() -> None:
    when = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
    lowest = ids.lowest_id(when)
    assert ids.moment(lowest) == when
    assert (
        ids.lowest_id(when - dt.timedelta(milliseconds=1)) < lowest < ids.lowest_id(when + dt.timedelta(milliseconds=1))
    )


def test_no_id_is_older_than_1970() -> None:
    assert ids.lowest_id(dt.datetime(1969, 12, 1, tzinfo=dt.UTC)) == UUID(int=0)
