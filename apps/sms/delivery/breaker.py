"""Circuit breaker of one operator's connection. Times are seconds of one monotonic clock."""

from __future__ import annotations

import random
from typing import Final

_LONGEST: Final = 30.0


class CircuitBreaker:
    """Closed while submits succeed; after `failures` in a row it opens and nothing is submitted.

    An answer that may be about one number alone counts once per number: one handset that always fails opens nothing,
    many different ones do.

    It stays open for `seconds`, doubling up to half a minute with each failed probe, with jitter so that a fleet's
    workers do not probe together. Then it is half open: one message is the probe, and its outcome closes or opens it.
    """

    def __init__(self, *, failures: int, seconds: float) -> None:
        self._threshold = failures
        self._seconds = seconds
        self._failures = 0
        self._numbers: set[str] = set()  # whose failures counted since the last success
        self._openings = 0
        self._opens_until = 0.0
        self._probing = False

    @property
    def is_closed(self) -> bool:
        return not self._openings

    def wait(self, *, now: float) -> float:
        """Seconds until a submit may be made; infinity while a probe is under way."""
        if self.is_closed:
            return 0.0
        if self._probing:
            return float("inf")
        return max(0.0, self._opens_until - now)

    def submit_started(self) -> None:
        """Note that a submit starts. It is the probe unless the breaker is closed."""
        self._probing = not self.is_closed

    def succeeded(self) -> bool:
        """Note that the operator answered. Returns True if that closed the breaker."""
        was_closed = self.is_closed
        self._failures = self._openings = 0
        self._numbers.clear()
        self._probing = False
        return not was_closed

    def declined(self) -> bool:
        """Note an answer that is about one message alone. It neither counts as a failure nor ends a row of failures.

        As the probe's answer it closes the breaker. Returns True if it did.
        """
        return self._probing and self.succeeded()

    def failed(self, *, now: float, number: str | None = None) -> bool:
        """Note that the operator did not answer, or not sensibly. `number`: the recipient, if it may be the reason.

        Returns True if that opened the breaker, for the first time or again.
        """
        if self.is_closed and number is not None:
            if number in self._numbers:
                return False
            self._numbers.add(number)
        self._failures += 1
        if self.is_closed and self._failures < self._threshold:
            return False
        if not self.is_closed and not self._probing:
            return False  # submitted before it opened
        self._probing = False
        longest = min(_LONGEST, self._seconds * 2.0 ** min(self._openings, 30))
        self._openings += 1
        self._opens_until = now + longest * random.uniform(0.5, 1.0)
        return True

    def abandoned(self) -> None:
        """Note that a submit ended without an answer: another message may be the probe."""
        self._probing = False
