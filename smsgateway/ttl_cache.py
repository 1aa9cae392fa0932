"""A small cache of look-ups whose values expire."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

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

    def get(self, key: Key, *, max_age: float) -> Value:
        """The value, at most `max_age` seconds old."""
        now = time.monotonic()
        found = self._found.get(key)
        if found is not None and now - found[0] < max_age:
            return found[1]
        value = self._load(key)
        if len(self._found) >= self._size:
            self._found.clear()
        self._found[key] = (now, value)
        return value
