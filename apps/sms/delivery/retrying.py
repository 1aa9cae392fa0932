"""When a message is tried again."""

from __future__ import annotations

import random

from smsgateway.config.groups import Worker


def backoff(delays: int, *, config: Worker, retry_after: float | None = None) -> float:
    """Seconds to wait, for the `delays`-th time (from 1): doubling up to the cap, with jitter of half of it.

    Jitter keeps the messages that failed together from coming back together. An operator's own `retry_after` is a
    lower bound, itself within the cap: a message that waits holds up the commits of its partition.
    """
    delay = min(config.retry_cap, config.retry_base * 2.0 ** min(delays - 1, 30))
    jittered = delay * random.uniform(0.5, 1.0)
    return max(jittered, min(retry_after or 0.0, config.retry_cap))
