"""What the name of a partition tells: the days whose ids it holds."""

from __future__ import annotations

import datetime as dt


def days_of(partition: str, *, table: str) -> tuple[dt.date, dt.date]:
    """The first and the last day of TABLE_20261124 (a day), TABLE_202611 (a month) or TABLE_20261101_20261107."""
    first, _, last = partition.removeprefix(f"{table}_").partition("_")
    if len(first) == len("202611"):
        start = dt.datetime.strptime(first, "%Y%m").date()
        return start, (start + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)
    start, end = (dt.datetime.strptime(text, "%Y%m%d").date() for text in (first, last or first))
    return start, end
