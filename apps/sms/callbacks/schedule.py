"""When a callback is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# An endpoint that asks for more than this is tried again nevertheless.
LONGEST_RETRY_AFTER: Final = 86_400.0
_SPREAD: Final = 0.1


def retry_delay(
    failed: int, *, delays: Sequence[float], retry_after: float | None = None, chance: float
) -> float | None:
    """Seconds until the next try, when `failed` tries (1 or more) have failed; None: there is none any more.

    `chance` (0 to 1) moves it by up to a tenth, so that what failed together does not come together again. What the
    endpoint asked for (Retry-After) is waited for at least.
    """
    if failed > len(delays):
        return None
    delay = delays[failed - 1] * (1 + _SPREAD * (2 * chance - 1))
    return max(delay, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
