"""Look-ups on the event loop: one query for many keys, and nobody waits for a value that is still good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from smsgateway.ttl_cache import Refreshed, Remembered, RememberedTogether
from tests.support.event_loop import on_loop
from tests.support.waiting import wait_for


class Table:
    """Values by key, and which keys were asked for together."""

    def __init__(self, values: dict[str, int]) -> None:
        self.values = values
        self.asked: list[list[str]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def load(self, keys: Sequence[str]) -> dict[str, int]:
        self.asked.append(sorted(keys))
        assert self.go_on.wait(60)
        return {key: self.values[key] for key in keys if key in self.values}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of the caches."""
    clock = [1000.0]
    monkeypatch.setattr("smsgateway.ttl_cache.time", type("Clock", (), {"monotonic": staticmethod(lambda: clock[0])}))
    return lambda seconds: clock.__setitem__(0, 1000.0 + seconds)


def test_keys_that_miss_meanwhile_are_one_query(now: Callable[[float], None]) -> None:
    table = Table({"a": 1, "b": 2})
    cache = RememberedTogether(table.load, name="test")
    table.go_on.clear()
    found: dict[str, int | None] = {}
    keys = ["a", *(f"random {number}" for number in range(50)), "b"]
    on_loop([lambda key=key: found.update({key: cache.get(key, max_age=5)}) for key in keys], then=table.go_on.set)
    assert [len(asked) for asked in table.asked] == [1, 51]
    assert found == dict.fromkeys(keys) | {"a": 1, "b": 2}
    assert cache.get("random 7", max_age=5) is None
    assert len(table.asked) == 2  # a key without a value is remembered too


def test_values_are_loaded_again_together_before_they_are_too_old(now: Callable[[float], None]) -> None:
    table = Table({"a": 1, "b": 2})
    cache = RememberedTogether(table.load, name="test")
    both = [lambda key=key: found.update({key: cache.get(key, max_age=8)}) for key in "ab"]
    found: dict[str, int | None] = {}
    on_loop(both)
    table.asked.clear()
    table.values = {"a": 3}
    now(4)
    on_loop(both[:1])
    wait_for(lambda: table.asked == [["a"]] and not cache._is_refreshing, "the first look-up")
    on_loop(both[1:])
    assert found == {"a": 1, "b": 2}  # still good
    assert table.asked == [["a"]]  # others may become due
    now(6)
    on_loop(both)
    wait_for(lambda: table.asked == [["a"], ["b"]] and not cache._is_refreshing, "the second look-up")
    on_loop(both)
    assert found == {"a": 3, "b": None}


def test_a_value_that_is_too_old_is_waited_for(now: Callable[[float], None]) -> None:
    values = iter([1, 2, 3])
    remembered: Remembered[str, int] = Remembered(lambda _key: next(values))
    found: list[int] = []
    for seconds in (0, 1, 5):
        now(seconds)
        on_loop([lambda: found.append(remembered.get("a", max_age=4))])
    assert found == [1, 1, 2]


def test_a_whole_table_is_read_again_in_the_background(now: Callable[[float], None]) -> None:
    values = iter([1, 2, 3])
    refreshed = Refreshed(lambda: next(values))
    found: list[int] = []
    for seconds, expected in ((0, 1), (1, 1), (3, 1)):
        now(seconds)
        on_loop([lambda: found.append(refreshed.get(max_age=4))])
        assert found[-1] == expected
    wait_for(lambda: refreshed._value == 2 and not refreshed._is_refreshing, "the new value")
    on_loop([lambda: found.append(refreshed.get(max_age=4))])
    assert found[-1] == 2
    now(10)
    on_loop([lambda: found.append(refreshed.get(max_age=4))])
    assert found[-1] == 3
