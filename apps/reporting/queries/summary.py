"""What messages of a range come to, in any grouping."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.reporting.queries.bounded import ask
from apps.reporting.queries.intervals import DAY, HOUR, MINUTE, UTC, Interval
from apps.reporting.queries.quantiles import quantiles
from apps.reporting.queries.stats import COUNTS, filled
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse

TIMES: Final[dict[str, Interval]] = {"minute": MINUTE, "hour": HOUR, "day": DAY}
KEYS: Final = ("customer", "operator", "country", "encoding", "status", "error")
GROUPINGS: Final = (*TIMES, *KEYS)
FILTERS: Final = ("operator", "country", "encoding", "status")
LONGEST: Final = dt.timedelta(days=400)
MOST_ROWS: Final = 20_000
# Rows of zeros cost the database nothing and this process its memory.
MOST_FILLED: Final = 100_000

_ENDS: Final = ("delivered", "undelivered", "failed", "rejected", "expired", "canceled")
_COUNTS: Final = ", ".join(
    (
        "sum(part.messages)",
        "sum(part.segments)",
        "sum(part.cost)",
        *(f"sumIf(part.messages, part.status = '{end}')" for end in _ENDS),
        f"sumIf(part.messages, part.status NOT IN {_ENDS})",
        "sum(part.refunded)",
    )
)
_DELAYS: Final = ", sumMap(part.submit_times), sumMap(part.delivery_times)"
_COLUMNS: Final = "customer_id, operator, country, encoding, status, error, messages, segments, cost, refunded"
_BY_MINUTE: Final = f"""
    SELECT time, {_COLUMNS}{{delays}} FROM stats_minute_groups
    WHERE time >= toDateTime({{since}}, 'UTC') AND time < toDateTime({{until}}, 'UTC') {{filters}}
"""
_BY_DAY: Final = f"""
    SELECT toDateTime(day, 'UTC') AS time, {_COLUMNS}{{delays}} FROM stats_daily_groups
    WHERE day >= toDate(toDateTime({{since}}, 'UTC')) AND day < toDate(toDateTime({{until}}, 'UTC')) {{filters}}
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: the messages accepted in [since, until), to the minute, of one customer or of all.

    `filters`: of FILTERS, the only value that counts. `group_by`: of GROUPINGS, one of TIMES at the most.
    """

    since: dt.datetime
    until: dt.datetime
    customer_id: UUID | None
    group_by: Sequence[str] = ()
    filters: dict[str, str] = dataclasses.field(default_factory=dict)
    zone: ZoneInfo = UTC
    fill: bool = False
    delays: bool = False

    @property
    def interval(self) -> Interval | None:
        """The step of time that is grouped by, if there is one."""
        return next((TIMES[name] for name in self.group_by if name in TIMES), None)

    @property
    def longest(self) -> dt.timedelta:
        """The widest range that may be asked for."""
        return self.interval.limit(self.zone) if self.interval else LONGEST


def summary(*, database: ClickHouse, question: Question) -> tuple[list[dict[str, Any]], bool]:
    """Rows by what is grouped by, sorted; and whether some are missing.

    Rows are missing if there are more than MOST_ROWS, or if filled there were more than MOST_FILLED: then those of
    zeros are left out.

    Each row has the values of `group_by`, COUNTS, and with `delays` (which cost most of the time) `submit_ms` and
    `delivery_ms`: quantiles of the time from accepted (or due) to submitted and from submitted to delivered, None where
    there was none. Raises QueryTooSlow, or StatisticsUnavailable.
    """
    interval = question.interval
    keys = [name for name in question.group_by if name not in TIMES]
    grouped = (["start"] if interval else []) + [f"part.{'customer_id' if key == 'customer' else key}" for key in keys]
    starts = interval.starts(question.since, question.until, question.zone) if interval else []
    start = f"{interval.start} AS start, " if interval else ""
    told = "".join(f"{name}, " for name in grouped if name != "start")
    grouping = f"GROUP BY {', '.join(grouped)} ORDER BY {', '.join(grouped)}" if grouped else ""
    delays = _DELAYS if question.delays else ""
    query = f"SELECT {start}{told}{_COUNTS}{delays} FROM ({_source(question)}) AS part {grouping} LIMIT {MOST_ROWS + 1}"
    found = ask(database, query, _parameters(question, starts))
    rows = [_row(values, interval=interval, keys=keys) for values in found[:MOST_ROWS]]
    more = len(found) > MOST_ROWS
    if interval:
        if question.fill and not more:
            groups = len({tuple(row[key] for key in keys) for row in rows})
            more = len(starts) * groups > MOST_FILLED
            if not more:
                nothing = {"submit_ms": None, "delivery_ms": None} if question.delays else {}
                rows = [nothing | row for row in filled(rows, starts=starts, keys=keys, zeros=COUNTS)]
        name = next(name for name in question.group_by if name in TIMES)
        rows = [{name: interval.label(row.pop("time"), question.zone), **row} for row in rows]
    return rows, more


def _row(values: Sequence[Any], *, interval: Interval | None, keys: Sequence[str]) -> dict[str, Any]:
    rest = list(values)
    row: dict[str, Any] = {}
    if interval:
        row["time"] = dt.datetime.fromtimestamp(rest.pop(0), tz=dt.UTC)
    for key in keys:
        value = rest.pop(0)
        row[key] = ids.to_text(value) if key == "customer" else value
    row |= dict(zip(COUNTS, rest, strict=False))
    for name, buckets in zip(("submit_ms", "delivery_ms"), rest[len(COUNTS) :], strict=False):
        row[name] = quantiles(buckets)
    return row


def _source(question: Question) -> str:
    """Whole days of UTC come from the days' rows; edges, minutes, hours and other zones' days from the minutes'."""
    filters = "".join(f" AND {name} = %({name})s" for name in question.filters)
    if question.customer_id:
        filters += " AND customer_id = %(customer_id)s"
    since, until = (int(moment.timestamp()) for moment in (question.since, question.until))
    parts = [(_BY_MINUTE, since, until)]
    if question.interval is None or (question.interval is DAY and question.zone.key == UTC.key):
        first, last = -(-since // 86_400) * 86_400, until // 86_400 * 86_400
        if first < last:
            parts = [(_BY_MINUTE, since, first), (_BY_DAY, first, last), (_BY_MINUTE, last, until)]
    delays = ", submit_times, delivery_times" if question.delays else ""
    asked = [
        sql.format(since=low, until=high, filters=filters, delays=delays) for sql, low, high in parts if low < high
    ]
    return " UNION ALL ".join(asked)


def _parameters(question: Question, starts: Sequence[dt.datetime]) -> dict[str, Any]:
    bounds = [int(start.timestamp()) for start in starts]
    return {"customer_id": question.customer_id, "starts": bounds, **question.filters}
