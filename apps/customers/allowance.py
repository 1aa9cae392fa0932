"""The rest of a customer's rate limit, and the headers that show it."""

from __future__ import annotations

from typing import Final, NamedTuple

WINDOW_SECONDS: Final = 60


class Allowance(NamedTuple):
    """A customer's limit in the window, how many messages remain, and the seconds until more remain."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit`."""
        return {
            "RateLimit-Policy": f'"messages";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"messages";r={self.remaining};t={self.reset}',
        }
