"""Statistics from ClickHouse."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from smsgateway.clickhouse import ClickHouse, ClickHouseUnavailable
from smsgateway.errors import StatisticsUnavailable

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

# Both plans reach the head of the primary key, (customer_id, minute), through the views. Bounds are Unix times,
# because a time written as text would be read in the server's time zone.
_MINUTE: Final = f"""
    SELECT toUnixTimestamp(time), operator, {", ".join(COUNTS)}
    FROM stats_minute
    WHERE customer_id = %(customer_id)s
      AND time >= toDateTime(%(since)s, 'UTC')
      AND time < toDateTime(%(until)s, 'UTC')
      AND (%(operator)s = '' OR operator = %(operator)s)
    ORDER BY time, operator
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


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """A step of statistics: the longest range one question may span, and how a row's time is told."""

    name: str
    step: dt.timedelta
    longest: dt.timedelta
    query: str
    label: Callable[[dt.datetime], dt.datetime | dt.date]


MINUTE: Final = Interval("minute", dt.timedelta(minutes=1), dt.timedelta(days=7), _MINUTE, lambda time: time)
DAY: Final = Interval("daily", dt.timedelta(days=1), dt.timedelta(days=400), _DAILY, dt.datetime.date)


def stats(
    *,
    database: ClickHouse,
    interval: Interval,
    customer_id: UUID,
    since: dt.datetime,
    until: dt.datetime,
    operator: str,
) -> list[dict[str, Any]]:
    """A customer's statistics by time and operator, of the intervals that begin in [since, until).

    `operator` empty means all. Each row has `time`, `operator` and COUNTS; `cost` and `refunded` are minor units.
    Intervals without messages have no row. Raises StatisticsUnavailable if ClickHouse does not answer.
    """
    parameters = {
        "customer_id": customer_id,
        "since": _first_start(since, interval),
        "until": _first_start(until, interval),
        "operator": operator,
    }
    try:
        rows = database.query(interval.query, parameters)
    except ClickHouseUnavailable as error:
        raise StatisticsUnavailable("Try again shortly.") from error
    return [
        {
            "time": interval.label(dt.datetime.fromtimestamp(start, tz=dt.UTC)),
            "operator": operator,
            **dict(zip(COUNTS, counts, strict=True)),
        }
        for start, operator, *counts in rows
    ]


def totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The sum of each of COUNTS."""
    return {name: sum(row[name] for row in rows) for name in COUNTS}


def _first_start(moment: dt.datetime, interval: Interval) -> int:
    """The start of the first interval that begins at `moment` or later, in seconds since 1970."""
    step = int(interval.step.total_seconds())
    return math.ceil(moment.timestamp() / step) * step
