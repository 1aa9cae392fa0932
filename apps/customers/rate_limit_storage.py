"""The counts of the rate limits, in the memory of a process or in Redis, as storages of the library `limits`.

The library's own memory storage starts a thread for every request to drop what has expired, which cost more than the
whole of the rest of a rate limit. This one drops it while counting.
"""

from __future__ import annotations

import math
import threading
import time
from typing import NamedTuple

from limits.storage import RedisStorage, Storage
from limits.storage.base import SlidingWindowCounterSupport

# So many customers are kept before those are dropped whose windows are over.
_CUSTOMERS = 10_000
_NO_LIMIT = 2**53  # what Lua can count to


class _Windows(NamedTuple):
    """The counts of the window of this number and of the one before."""

    number: int
    before: int
    current: int


class SharedStorage(RedisStorage):
    """Counts in Redis, for all processes."""

    def give_back(self, key: str, expiry: int, amount: int) -> None:
        """Take an amount off the current window again; below zero, if it was taken in the window before."""
        self.acquire_sliding_window_entry(key, _NO_LIMIT, expiry, -amount)


class ProcessStorage(Storage, SlidingWindowCounterSupport):
    """Counts in this process, for the sliding window counter alone."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, _Windows] = {}
        self._lock = threading.Lock()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = time.time()
        with self._lock:
            found = self._now(key, expiry, now)
            left_of_before = 1 - now / expiry % 1
            if math.floor(found.before * left_of_before + found.current) + amount > limit:
                return False
            if key not in self._windows and len(self._windows) >= _CUSTOMERS:
                self._drop_over(found.number)
            self._windows[key] = found._replace(current=found.current + amount)
            return True

    def give_back(self, key: str, expiry: int, amount: int) -> None:
        """Take an amount off the current window again."""
        with self._lock:
            found = self._now(key, expiry, time.time())
            self._windows[key] = found._replace(current=max(0, found.current - amount))

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = time.time()
        found = self._now(key, expiry, now)
        left = (1 - now / expiry % 1) * expiry
        return found.before, left if found.before else 0.0, found.current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self._windows.pop(key, None)

    def _now(self, key: str, expiry: int, now: float) -> _Windows:
        number = int(now // expiry)
        found = self._windows.get(key)
        if found is None or found.number < number - 1:
            return _Windows(number, 0, 0)
        if found.number < number:
            return _Windows(number, found.current, 0)
        return found

    def _drop_over(self, number: int) -> None:
        self._windows = {key: found for key, found in self._windows.items() if found.number >= number - 1}

    # What other strategies would need is not kept here.

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError

    def get(self, key: str) -> int:
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)


CountingStorage = ProcessStorage | SharedStorage
