"""Caches of look-ups whose values expire.

On the event loop nothing waits for a value that is still good: half-way to its end a thread loads it again. Only a
value that is missing or too old makes the caller wait, while the loop goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, TypeVar

from smsgateway import event_loop
from smsgateway.http import coalesce

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by key, loaded again when they are older than the caller accepts. Errors of `load` are not cached.

    Keeps at most `size` values. Threads may share it; two that miss at the same time both load.
    """

    def __init__(self, load: Callable[[Key], Value], *, size: int = 10_000) -> None:
        self._load = load
        self._size = size
        self._found: dict[Key, tuple[float, Value]] = {}
        self._loading: set[Key] = set()

    def get(self, key: Key, *, max_age: float) -> Value:
        """The value, at most `max_age` seconds old."""
        found = self._found.get(key)
        if found is None:
            return event_loop.in_thread(self._load_now, key)
        age = time.monotonic() - found[0]
        if age >= max_age:
            return event_loop.in_thread(self._load_now, key)
        if age >= max_age / 2 and key not in self._loading and event_loop.current() is not None:
            self._loading.add(key)
            event_loop.in_background(partial(self._load_again, key))
        return found[1]

    def _load_now(self, key: Key) -> Value:
        now = time.monotonic()
        value = self._load(key)
        if len(self._found) >= self._size:
            self._found.clear()
        self._found[key] = (now, value)
        return value

    def _load_again(self, key: Key) -> None:
        try:
            self._load_now(key)
        finally:
            self._loading.discard(key)


class Refreshed(Generic[Value]):
    """One value, such as a whole table, read again when it is older than the caller accepts.

    One thread reads at a time; those that need the new value wait for it.
    """

    def __init__(self, read: Callable[[], Value]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._value: Value | None = None
        self._read_at = float("-inf")
        self._is_refreshing = False

    def get(self, *, max_age: float) -> Value:
        """The value, at most `max_age` seconds old. Raises the error of reading it."""
        age = time.monotonic() - self._read_at
        if age < max_age / 2:
            return self._value  # type: ignore[return-value]  # it was read
        if age >= max_age:
            return event_loop.in_thread(self._read_if_older, max_age)
        if not self._is_refreshing and event_loop.current() is not None:
            self._is_refreshing = True
            event_loop.in_background(partial(self._refresh, max_age / 2))
        return self._value  # type: ignore[return-value]  # it was read

    def _read_if_older(self, max_age: float) -> Value:
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= max_age:
                self._value = self._read()
                self._read_at = now
            return self._value  # type: ignore[return-value]  # it was read

    def _refresh(self, max_age: float) -> None:
        try:
            self._read_if_older(max_age)
        finally:
            self._is_refreshing = False


class RememberedTogether(Generic[Key, Value]):
    """Values by key, of which one query loads many: those that miss at the same moment, and those to be loaded again.

    A key without a value is remembered too. So repeated requests with it ask nothing, and a flood of different ones is
    one query at a time. Keeps at most `size` values, and as many keys without one.
    """

    def __init__(self, load: Callable[[Sequence[Key]], Mapping[Key, Value]], *, name: str, size: int = 10_000) -> None:
        self._load = load
        self._size = size
        self._found: dict[Key, tuple[float, Value]] = {}
        self._missing: dict[Key, float] = {}
        self._due: set[Key] = set()
        self._is_refreshing = False
        self._refresh_after = float("-inf")
        self._group: coalesce.Group[Key, Value | None] = coalesce.Group(self._load_now, name=name)

    def get(self, key: Key, *, max_age: float) -> Value | None:
        """The value, at most `max_age` seconds old; None if the key has none. Raises the error of loading it."""
        now = time.monotonic()
        found = self._found.get(key)
        if found is None:
            if now - self._missing.get(key, float("-inf")) < max_age:
                return None
            return self._group.ask(key)
        age = now - found[0]
        if age >= max_age:
            return self._group.ask(key)
        if age >= max_age / 2 and event_loop.current() is not None:
            self._due.add(key)
            if not self._is_refreshing and now >= self._refresh_after:
                self._is_refreshing = True
                self._refresh_after = now + max_age / 4  # so that many keys are due together
                event_loop.in_background(self._refresh)
        return found[1]

    def _load_now(self, keys: Sequence[Key]) -> list[Value | Exception | None]:
        now = time.monotonic()
        values = self._load(keys)
        if len(self._found) + len(values) > self._size:
            self._found.clear()
        if len(self._missing) + len(keys) > self._size:
            self._missing.clear()
        for key in keys:
            if key in values:
                self._found[key] = (now, values[key])
            else:
                self._found.pop(key, None)
                self._missing[key] = now
        return [values.get(key) for key in keys]

    def _refresh(self) -> None:
        try:
            due, self._due = self._due, set()
            if due:
                self._load_now(list(due))
        finally:
            self._is_refreshing = False
