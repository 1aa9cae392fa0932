"""Quantiles of delays, computed from counts in buckets as the aggregates store them.

Bucket b holds the delays of 2^(b/4) - 1 to 2^((b+1)/4) - 1 milliseconds, so a quantile is accurate to 20 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def quantiles(buckets: Mapping[int, int]) -> dict[str, int] | None:
    """QUANTILES of the delays counted in these buckets, in milliseconds; None without delays."""
    total = sum(buckets.values())
    return {name: _quantile(buckets, share * total) for name, share in QUANTILES.items()} if total else None


def _quantile(buckets: Mapping[int, int], wanted: float) -> int:
    """The delay that `wanted` of the delays do not exceed, assuming an even spread within each bucket."""
    passed, value = 0, 0.0
    for bucket in sorted(buckets):
        inside = buckets[bucket]
        if not inside:
            continue
        low, high = 2 ** (bucket / 4) - 1, 2 ** ((bucket + 1) / 4) - 1
        value = low + (high - low) * min(1.0, (wanted - passed) / inside)
        passed += inside
        if passed >= wanted:
            break
    return round(value)
