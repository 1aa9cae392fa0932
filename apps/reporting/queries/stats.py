"""Statistics of one customer per minute and per day, from ClickHouse."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.reporting.queries.bounded import bounded_query
from apps.reporting.queries.intervals import DAY, MINUTE, UTC, Interval
from smsgateway.clickhouse import ClickHouse

__all__ = ["COUNTS", "DAY", "MINUTE", "Interval", "filled", "stats", "totals"]

COUNTS: Final = (
    "accepted",
    "segments",
    "cost",
    "delivered",
    "undelivered",
    "failed",
    "rejected",
    "expired",
    "canceled",
    "pending",
    "refunded",
)

# Through the views, both plans use the primary key's first columns, (customer_id, minute) or (customer_id, day). Bounds
# are Unix times, because a time as text would be read in the server's time zone.
_MINUTE: Final = f"""
    SELECT {{start}} AS start, operator, {", ".join(f"sum(part.{name})" for name in COUNTS)}
    FROM stats_minute AS part
    WHERE customer_id = %(customer_id)s
      AND time >= toDateTime(%(since)s, 'UTC')
      AND time < toDateTime(%(until)s, 'UTC')
      AND (%(operator)s = '' OR operator = %(operator)s)
    GROUP BY start, operator
    ORDER BY start, operator
"""
_DAILY: Final = f"""
    SELECT toUnixTimestamp(toDateTime(day, 'UTC')), operator, {", ".join(COUNTS)}
    FROM stats_daily
    WHERE customer_id = %(customer_id)s
      AND day >= toDate(toDateTime(%(since)s, 'UTC'))
      AND day < toDate(toDateTime(%(until)s, 'UTC'))
      AND (%(operator)s = '' OR operator = %(operator)s)
    ORDER BY day, operator
"""


def stats(
    *,
    database: ClickHouse,
    interval: Interval,
    customer_id: UUID,
    since: dt.datetime,
    until: dt.datetime,
    operator: str,
    zone: ZoneInfo = UTC,
    fill: bool = False,
) -> list[dict[str, Any]]:
    """A customer's statistics by time and operator, of the intervals that begin in [since, until).

    `operator` empty means all. Each row has `time`, `operator` and COUNTS; `cost` and `refunded` are minor units.
    Intervals without messages have no row, unless `fill` is set: then each operator in the result has a row for every
    interval. Raises QueryTooSlow, or StatisticsUnavailable if ClickHouse does not answer.
    """
    first, end = interval.first_start(since, zone), interval.first_start(until, zone)
    if first == end:  # no interval begins in the range
        return []
    starts = interval.starts(first, end, zone)
    parameters = {
        "customer_id": customer_id,
        "since": _seconds(first),
        "until": _seconds(end),
        "operator": operator,
        "starts": [_seconds(start) for start in starts],
    }
    by_day = interval is DAY and zone.key == UTC.key
    found = bounded_query(database, _DAILY if by_day else _MINUTE.format(start=interval.start), parameters)
    rows = [
        {
            "time": dt.datetime.fromtimestamp(start, tz=dt.UTC),
            "operator": name,
            **dict(zip(COUNTS, counts, strict=True)),
        }
        for start, name, *counts in found
    ]
    if fill:
        rows = filled(rows, starts=starts, keys=("operator",), zeros=COUNTS)
    return [row | {"time": interval.label(row["time"], zone)} for row in rows]


def totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The totals of COUNTS."""
    return {name: sum(row[name] for row in rows) for name in COUNTS}


def filled(
    rows: Sequence[dict[str, Any]], *, starts: Iterable[dt.datetime], keys: Sequence[str], zeros: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows, sorted, plus rows of zeros so that each group (values of `keys`) has one for each time in `starts`.

    No given row is left out. Without any rows, there is one group, with empty texts.
    """
    known = {(row["time"], *(row[key] for key in keys)): row for row in rows}
    groups = sorted({key[1:] for key in known}) or [tuple("" for _ in keys)]
    times = sorted({*starts, *(row["time"] for row in rows)})
    nothing = dict.fromkeys(zeros, 0)
    return [
        known.get((time, *group)) or {"time": time, **dict(zip(keys, group, strict=True)), **nothing}
        for time, group in itertools.product(times, groups)
    ]


def _seconds(moment: dt.datetime) -> int:
    return int(moment.timestamp())
