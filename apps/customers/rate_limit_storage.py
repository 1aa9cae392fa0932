"""Stores the counts of rate limits in the memory of a process or in Redis, as storages of the library `limits`.

The library's own memory storage starts a thread for every request to drop expired counts. That costs more than all the
rest of a rate limit. This storage drops them while it counts.
"""

from __future__ import annotations

import math
import threading
import time
from typing import NamedTuple

from limits.storage import RedisStorage, Storage
from limits.storage.base import SlidingWindowCounterSupport

# When this many customers are kept, those whose windows have expired are dropped.
_MAX_CUSTOMERS = 10_000
_NO_LIMIT = 2**53  # the largest exact integer in Lua


class _Windows(NamedTuple):
    """The counts of the window with this number and of the previous one."""

    number: int
    before: int
    current: int


class SharedStorage(RedisStorage):
    """Counts in Redis, for all processes."""

    def give_back(self, key: str, expiry: int, amount: int) -> None:
        """Subtract an amount from the current window; below zero if the amount is in the previous one."""
        self.acquire_sliding_window_entry(key, _NO_LIMIT, expiry, -amount)


class ProcessStorage(Storage, SlidingWindowCounterSupport):
    """Counts in this process. Supports only the sliding window counter."""

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
            found = self._windows_at(key, expiry, now)
            left_of_before = 1 - now / expiry % 1
            if math.floor(found.before * left_of_before + found.current) + amount > limit:
                return False
            if key not in self._windows and len(self._windows) >= _MAX_CUSTOMERS:
                self._drop_expired(found.number)
            self._windows[key] = found._replace(current=found.current + amount)
            return True

    def give_back(self, key: str, expiry: int, amount: int) -> None:
        """Subtract an amount from the current window, down to zero."""
        with self._lock:
            found = self._windows_at(key, expiry, time.time())
            self._windows[key] = found._replace(current=max(0, found.current - amount))

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = time.time()
        found = self._windows_at(key, expiry, now)
        left = (1 - now / expiry % 1) * expiry
        return found.before, left if found.before else 0.0, found.current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self._windows.pop(key, None)

    def _windows_at(self, key: str, expiry: int, now: float) -> _Windows:
        number = int(now // expiry)
        found = self._windows.get(key)
        if found is None or found.number < number - 1:
            return _Windows(number, 0, 0)
        if found.number < number:
            return _Windows(number, found.current, 0)
        return found

    def _drop_expired(self, number: int) -> None:
        self._windows = {key: found for key, found in self._windows.items() if found.number >= number - 1}

    # Only other strategies need these.

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
