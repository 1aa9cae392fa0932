"""The token bucket keeps a customer's pace."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sms.delivery.pacing import TokenBucket

RATES = st.integers(1, 1000)
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=60)


def pass_times(bucket: TokenBucket, messages: list[tuple[float, int]]) -> list[float]:
    """When each message of `(time it comes, segments)` passes, if each waits as long as `take` says."""
    now = 0.0
    passed = []
    for arrives, segments in messages:
        now = max(now, arrives)
        wait = bucket.take(segments, now=now)
        if wait:
            now += wait
            assert bucket.take(segments, now=now) == 0.0, "it may pass when the promised wait is over"
        passed.append(now)
    return passed


@given(RATES, LENGTHS)
def test_a_backlog_goes_out_at_the_pace_whatever_the_lengths(rate: int, lengths: list[int]) -> None:
    passed = pass_times(TokenBucket(rate=rate, now=0.0), [(0.0, length) for length in lengths])
    for now, before, length in zip(passed, accumulate(lengths, initial=0), lengths, strict=False):
        # The first second's worth goes at once; a message longer than that waits for a full bucket.
        assert now == pytest.approx(max(0.0, (before + min(length, rate) - rate) / rate), abs=1e-3)


@given(RATES, st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), min_size=2, max_size=40), st.data())
def test_no_window_sees_more_than_the_pace_and_one_second_saved(
    rate: int, gaps: list[tuple[float, int]], data: st.DataObject
) -> None:
    arrivals = list(accumulate(gap for gap, _ in gaps))
    lengths = [length for _, length in gaps]
    passed = pass_times(TokenBucket(rate=rate, now=0.0), list(zip(arrivals, lengths, strict=True)))
    first = data.draw(st.integers(0, len(passed) - 2))
    last = data.draw(st.integers(first + 1, len(passed) - 1))
    # Of the last message only what fits the bucket; the rest is a debt that later windows pay.
    segments = sum(lengths[first:last]) + min(lengths[last], rate)
    assert segments <= rate * (passed[last] - passed[first] + 1) + 1e-3


def test_a_message_longer_than_the_bucket_leaves_a_debt() -> None:
    bucket = TokenBucket(rate=2, now=0.0)
    assert bucket.take(10, now=0.0) == 0.0
    assert bucket.take(1, now=0.0) == pytest.approx(4.5)


def test_a_refused_message_takes_nothing() -> None:
    bucket = TokenBucket(rate=10, now=0.0)
    bucket.take(10, now=0.0)
    assert [bucket.take(5, now=0.0) for _ in range(3)] == [0.5, 0.5, 0.5]


def test_a_new_pace_counts_from_the_next_message() -> None:
    bucket = TokenBucket(rate=10, now=0.0)
    bucket.take(10, now=0.0)
    bucket.rate = 1
    assert bucket.take(1, now=0.0) == pytest.approx(1.0)
    assert not bucket.is_full(now=0.5)
    assert bucket.is_full(now=1.0)
