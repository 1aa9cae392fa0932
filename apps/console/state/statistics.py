"""The traffic of all customers, today and in the last two weeks, from ClickHouse."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from typing import Any, Final, NamedTuple

from django.conf import settings

from apps.console.state.poll import Unavailable
from smsgateway.clickhouse import ClickHouse, ClickHouseError

DAYS: Final = 14
_SECONDS: Final = 3

# Sums over the views of the reporting API.
_SUMS: Final = """
    sum(accepted), sum(delivered), sum(undelivered + failed + rejected + expired), sum(canceled), sum(pending),
    sum(cost), sum(refunded)
"""
_HOURS: Final = f"""
SELECT toHour(time, 'UTC') AS hour, {_SUMS}
  FROM stats_minute
 WHERE time >= toDateTime(%(midnight)s, 'UTC') AND time < toDateTime(%(end)s, 'UTC')
 GROUP BY hour ORDER BY hour
"""  # ours, above
_DAYS: Final = f"""
SELECT toUnixTimestamp(toDateTime(day, 'UTC')) AS day_at, {_SUMS}
  FROM stats_daily
 WHERE day > toDate(toDateTime(%(first)s, 'UTC')) AND day <= toDate(toDateTime(%(last)s, 'UTC'))
 GROUP BY day_at ORDER BY day_at
"""  # ours, above
_LATE: Final = """
SELECT operator, sum(pending), min(if(pending > 0, toUnixTimestamp(time), 4294967295))
  FROM stats_minute
 WHERE time >= toDateTime(%(since)s, 'UTC') AND time < toDateTime(%(until)s, 'UTC')
 GROUP BY operator HAVING sum(pending) > 0 ORDER BY operator
"""


class Traffic(NamedTuple):
    """Messages by outcome, and money in minor units."""

    accepted: int = 0
    delivered: int = 0
    failed: int = 0
    canceled: int = 0
    pending: int = 0
    cost: int = 0
    refunded: int = 0

    @property
    def delivery_rate(self) -> float | None:
        """The share of finished messages that was delivered; None if none has finished."""
        ended = self.delivered + self.failed
        return self.delivered / ended if ended else None

    @property
    def spend(self) -> int:
        return self.cost - self.refunded

    def plus(self, other: Traffic) -> Traffic:
        return Traffic(*(mine + yours for mine, yours in zip(self, other, strict=True)))


class Late(NamedTuple):
    """Messages without a final status."""

    operator: str
    messages: int
    oldest: dt.datetime


def hours_today() -> list[Traffic]:
    """The traffic of each hour of today (UTC), 24 of them. Raises Unavailable."""
    midnight = dt.datetime.now(tz=dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    bounds = {"midnight": int(midnight.timestamp()), "end": int(midnight.timestamp()) + 86_400}
    hours = [Traffic()] * 24
    for hour, *sums in _query(_HOURS, bounds):
        hours[hour] = Traffic(*map(int, sums))
    return hours


def days() -> dict[dt.date, Traffic]:
    """The traffic of each of the last DAYS days, today last. Raises Unavailable."""
    today = dt.datetime.now(tz=dt.UTC).date()
    found = {today - dt.timedelta(days=back): Traffic() for back in range(DAYS - 1, -1, -1)}
    first = dt.datetime.combine(today - dt.timedelta(days=DAYS), dt.time(), tzinfo=dt.UTC)
    last = dt.datetime.combine(today, dt.time(), tzinfo=dt.UTC)
    for at, *sums in _query(_DAYS, {"first": int(first.timestamp()), "last": int(last.timestamp())}):
        found[dt.datetime.fromtimestamp(at, tz=dt.UTC).date()] = Traffic(*map(int, sums))
    return found


def late() -> list[Late]:
    """Messages of the last three days without a final status after an hour, by first operator. Raises Unavailable."""
    now = int(dt.datetime.now(tz=dt.UTC).timestamp())
    rows = _query(_LATE, {"since": now - 3 * 86_400, "until": now - 3600})
    return [Late(operator, int(count), dt.datetime.fromtimestamp(at, tz=dt.UTC)) for operator, count, at in rows]


def _query(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Uses a client of its own with short timeouts: queries are few, and their answers are cached."""
    config = settings.CONFIG.clickhouse
    url = f"{config.url}{'&' if '?' in config.url else '?'}connect_timeout=1"
    with contextlib.closing(ClickHouse(dataclasses.replace(config, url=url, timeout=_SECONDS))) as database:
        try:
            return database.query(sql, parameters)
        except ClickHouseError as error:
            raise Unavailable(
                f"ClickHouse: {str(error).splitlines()[0][:150] if str(error) else 'no answer'}"
            ) from error
