"""Token bucket: how fast a customer's messages go out, counted in segments."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second, at most one second's worth saved up.

    A message of more segments than the bucket holds passes when the bucket is full and leaves a debt, so the mean pace
    is kept whatever the sizes. Times are seconds of one monotonic clock.
    """

    def __init__(self, *, rate: float, now: float) -> None:
        self.rate = rate
        self._tokens = rate
        self._at = now

    def take(self, segments: int, *, now: float) -> float:
        """Take the segments and return 0, or take nothing and return the seconds to wait."""
        self._tokens = min(self.rate, self._tokens + (now - self._at) * self.rate)
        self._at = now
        lacking = min(segments, self.rate) - self._tokens
        # Rounding must not make a waiter who came at the promised time wait for another instant.
        if lacking > 1e-6:
            return lacking / self.rate
        self._tokens -= segments
        return 0.0

    def is_full(self, *, now: float) -> bool:
        return self._tokens + (now - self._at) * self.rate >= self.rate
