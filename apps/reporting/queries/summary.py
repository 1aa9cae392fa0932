"""Counts of the messages in a range, by any grouping."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.reporting.queries.bounded import bounded_query
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
MAX_ROWS: Final = 20_000
# Rows of zeros cost the database nothing, but they take memory in this process.
MAX_FILLED_ROWS: Final = 100_000

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
class SummarySpec:
    """Which messages to count: those accepted in [since, until), whole minutes, of one customer or of all.

    `filters`: names of FILTERS with the value to keep. `group_by`: names of GROUPINGS, at most one of TIMES.
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
        """The interval of time to group by, if any."""
        return next((TIMES[name] for name in self.group_by if name in TIMES), None)

    @property
    def longest(self) -> dt.timedelta:
        """The widest range allowed."""
        return self.interval.limit(self.zone) if self.interval else LONGEST


def summary(*, database: ClickHouse, spec: SummarySpec) -> tuple[list[dict[str, Any]], bool]:
    """The rows, sorted, and whether some are missing.

    Rows are missing if there are more than MAX_ROWS. If filling would make more than MAX_FILLED_ROWS, the rows of zeros
    are missing.

    Each row has the values of `group_by`, COUNTS, and with `delays` (which take most of the time) `submit_ms` and
    `delivery_ms`: quantiles of the time from accepted (or due) to submitted and from submitted to delivered, or
    None without such messages. Raises QueryTooSlow, or StatisticsUnavailable.
    """
    interval = spec.interval
    keys = [name for name in spec.group_by if name not in TIMES]
    grouped = (["start"] if interval else []) + [f"part.{'customer_id' if key == 'customer' else key}" for key in keys]
    starts = interval.starts(spec.since, spec.until, spec.zone) if interval else []
    start = f"{interval.start} AS start, " if interval else ""
    key_columns = "".join(f"{name}, " for name in grouped if name != "start")
    grouping = f"GROUP BY {', '.join(grouped)} ORDER BY {', '.join(grouped)}" if grouped else ""
    delays = _DELAYS if spec.delays else ""
    query = (
        f"SELECT {start}{key_columns}{_COUNTS}{delays} FROM ({_source(spec)}) AS part {grouping} LIMIT {MAX_ROWS + 1}"
    )
    found = bounded_query(database, query, _parameters(spec, starts))
    rows = [_row(values, interval=interval, keys=keys) for values in found[:MAX_ROWS]]
    more = len(found) > MAX_ROWS
    if interval:
        if spec.fill and not more:
            groups = len({tuple(row[key] for key in keys) for row in rows})
            more = len(starts) * groups > MAX_FILLED_ROWS
            if not more:
                nothing = {"submit_ms": None, "delivery_ms": None} if spec.delays else {}
                rows = [nothing | row for row in filled(rows, starts=starts, keys=keys, zeros=COUNTS)]
        name = next(name for name in spec.group_by if name in TIMES)
        rows = [{name: interval.label(row.pop("time"), spec.zone), **row} for row in rows]
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


def _source(spec: SummarySpec) -> str:
    """SQL: whole UTC days from the rows per day; edges, minutes, hours, other zones' days from those per minute."""
    filters = "".join(f" AND {name} = %({name})s" for name in spec.filters)
    if spec.customer_id:
        filters += " AND customer_id = %(customer_id)s"
    since, until = (int(moment.timestamp()) for moment in (spec.since, spec.until))
    parts = [(_BY_MINUTE, since, until)]
    if spec.interval is None or (spec.interval is DAY and spec.zone.key == UTC.key):
        first, last = -(-since // 86_400) * 86_400, until // 86_400 * 86_400
        if first < last:
            parts = [(_BY_MINUTE, since, first), (_BY_DAY, first, last), (_BY_MINUTE, last, until)]
    delays = ", submit_times, delivery_times" if spec.delays else ""
    selects = [
        sql.format(since=low, until=high, filters=filters, delays=delays) for sql, low, high in parts if low < high
    ]
    return " UNION ALL ".join(selects)


def _parameters(spec: SummarySpec, starts: Sequence[dt.datetime]) -> dict[str, Any]:
    bounds = [int(start.timestamp()) for start in starts]
    return {"customer_id": spec.customer_id, "starts": bounds, **spec.filters}
