"""The process's own counts of rate limits agree with the library's memory storage."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage

from apps.customers import rate_limit_storage
from apps.customers.errors import RateLimited
from apps.customers.rate_limit import RateLimiter
from apps.customers.rate_limit_storage import ProcessStorage

START = 1_800_000_000.0
steps = st.lists(st.tuples(st.floats(0, 90), st.sampled_from("ab"), st.integers(1, 6)), max_size=40)


def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [START]
    monkeypatch.setattr("time.time", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


@hypothesis_settings(deadline=None, max_examples=50)
@given(steps)
def test_it_takes_and_refuses_what_the_library_does(given_steps: list[tuple[float, str, int]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        wait = clock(monkeypatch)
        ours, theirs = ProcessStorage(), MemoryStorage()
        for seconds, key, amount in given_steps:
            wait(seconds)
            taken = ours.acquire_sliding_window_entry(key, 10, 60, amount)
            assert taken == theirs.acquire_sliding_window_entry(key, 10, 60, amount)
            assert ours.get_sliding_window(key, 60) == pytest.approx(theirs.get_sliding_window(key, 60))


def test_customers_that_are_quiet_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit_storage, "_MAX_CUSTOMERS", 3)
    wait = clock(monkeypatch)
    storage = ProcessStorage()
    for key in "abc":
        storage.acquire_sliding_window_entry(key, 10, 60)
    wait(121)
    for key in "de":
        storage.acquire_sliding_window_entry(key, 10, 60)
    assert storage.reset() == 2


@hypothesis_settings(deadline=None, max_examples=200)
@given(steps, st.integers(1, 10), st.integers(1, 1_000_000))
def test_retry_after_is_the_first_second_at_which_a_request_passes(
    given_steps: list[tuple[float, str, int]], messages: int, start: int
) -> None:
    """Nothing else comes meanwhile. To the second: one second earlier it does not pass."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        wait = clock(monkeypatch)
        wait(start / 1000)
        storage = ProcessStorage()
        limiter = RateLimiter(storage)
        customer_id = UUID(int=1)
        key = RateLimitItemPerMinute(10).key_for(customer_id.hex)
        for seconds, _, amount in given_steps:
            wait(seconds)
            storage.acquire_sliding_window_entry(key, 10, 60, amount)
        try:
            limiter.take(customer_id=customer_id, messages=messages, limit=10)
            return
        except RateLimited as refused:
            seconds = int(refused.headers["Retry-After"])
        assert 1 <= seconds <= 120
        if seconds > 1:
            wait(seconds - 1.02)
            with pytest.raises(RateLimited):
                limiter.take(customer_id=customer_id, messages=messages, limit=10)
            wait(1.02)
        else:
            wait(1)
        assert limiter.take(customer_id=customer_id, messages=messages, limit=10)


def test_what_is_given_back_can_be_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = clock(monkeypatch)
    storage = ProcessStorage()
    assert storage.acquire_sliding_window_entry("a", 10, 60, 10)
    storage.give_back("a", 60, 4)
    assert not storage.acquire_sliding_window_entry("a", 10, 60, 5)
    assert storage.acquire_sliding_window_entry("a", 10, 60, 4)
    wait(60)  # what was taken before counts no less for what is given back now
    storage.give_back("a", 60, 4)
    assert storage.get_sliding_window("a", 60)[0::2] == (10, 0)
