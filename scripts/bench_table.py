"""The tables that benchmarks print: columns of numbers, each as wide as it must be."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scripts.bench_cases import Measured

COLUMNS = ("p50 ms", "p99 ms", "API µs", "PostgreSQL µs", "WAL bytes", "generator µs")


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def median(runs: Sequence[Measured]) -> Measured:
    """The median of each figure."""
    return Measured(*(statistics.median(figures) for figures in zip(*runs, strict=True)))


def cells(one: Measured) -> list[str]:
    """A row's numbers: the rate, then COLUMNS."""
    costs = (f"{cost:,.0f}" for cost in (one.api_us, one.postgres_us, one.wal_bytes, one.generator_us))
    return [f"{one.rate:,.0f}", f"{one.p50_ms:,.1f}", f"{one.p99_ms:,.1f}", *costs]


def ratios(before: Sequence[Measured], after: Sequence[Measured]) -> list[list[str]]:
    """Two rows: the ratio of the medians in each column; and the lowest, the median and the highest ratio of a pair."""
    of_medians, of_pairs = ["ratio of medians"], ["ratio of each pair"]
    for old, new in zip(zip(*before, strict=True), zip(*after, strict=True), strict=True):
        of_medians.append(_ratio(statistics.median(new), statistics.median(old)))
        pairs = sorted(b / a for a, b in zip(old, new, strict=True) if a)
        spread = (pairs[0], statistics.median(pairs), pairs[-1]) if pairs else ()
        of_pairs.append(" ".join(f"{one:.2f}" for one in spread) or "-")
    return [of_medians, of_pairs]


def _ratio(new: float, old: float) -> str:
    return f"{new / old:.2f}" if old else "-"
