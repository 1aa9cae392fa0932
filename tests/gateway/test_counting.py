"""The process's own counts of rate limits agree with the library's memory storage."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from limits.storage import MemoryStorage

from apps.customers import counting
from apps.customers.counting import ProcessStorage

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
    monkeypatch.setattr(counting, "_CUSTOMERS", 3)
    wait = clock(monkeypatch)
    storage = ProcessStorage()
    for key in "abc":
        storage.acquire_sliding_window_entry(key, 10, 60)
    wait(121)
    for key in "de":
        storage.acquire_sliding_window_entry(key, 10, 60)
    assert storage.reset() == 2
