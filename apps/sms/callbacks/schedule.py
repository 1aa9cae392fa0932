"""When a callback is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# The longest Retry-After that is respected.
LONGEST_RETRY_AFTER: Final = 86_400.0
_SPREAD: Final = 0.1


def retry_delay(
    failed: int, *, delays: Sequence[float], retry_after: float | None = None, chance: float
) -> float | None:
    """Seconds until the next try after `failed` tries (1 or more); None if that was the last one.

    `chance` (0 to 1) changes the delay by up to a tenth, so that callbacks that failed together are not tried together
    again. The delay is at least `retry_after`, the seconds that the endpoint asked for.
    """
    if failed > len(delays):
        return None
    delay = delays[failed - 1] * (1 + _SPREAD * (2 * chance - 1))
    return max(delay, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
