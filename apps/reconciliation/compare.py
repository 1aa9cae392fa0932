"""Where ClickHouse differs from PostgreSQL: by customer and day, then by minute, then by message.

Whole days are compared first, by the same sums as in the reporting API. Minutes are compared only where days differ,
and messages only where minutes differ. So a day without differences costs one row, however many messages it has.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from enum import StrEnum
from typing import Final
from uuid import UUID

from apps.sms.recovery.totals import NOTHING, KnownMessage, Total, added_up, messages_known, totals
from apps.sms.statuses import RANK
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse

DAY: Final = dt.timedelta(days=1)
_MINUTE: Final = dt.timedelta(minutes=1)

_BY_DAY: Final = """
    SELECT customer_id, 0, status, sum(messages), sum(part.segments), sum(part.cost), sum(part.refunded)
    FROM stats_daily_groups AS part
    WHERE day = toDate(toDateTime(%(since)s, 'UTC')) {customer}
    GROUP BY customer_id, status
"""
_BY_MINUTE: Final = """
    SELECT customer_id, toUnixTimestamp(time), status,
           sum(messages), sum(part.segments), sum(part.cost), sum(part.refunded)
    FROM stats_minute_groups AS part
    WHERE time >= toDateTime(%(since)s, 'UTC') AND time < toDateTime(%(until)s, 'UTC') {customer}
    GROUP BY customer_id, time, status
"""
_CUSTOMER: Final = "AND customer_id = %(customer_id)s"
_MESSAGES: Final = """
    SELECT message_id, status, segments, cost, refunded, toUnixTimestamp64Milli(status_at)
    FROM sms_messages
    WHERE customer_id = %(customer_id)s AND minute = toDateTime(%(minute)s, 'UTC')
"""


class Kind(StrEnum):
    """How a message differs."""

    MISSING = "missing"  # ClickHouse does not have it
    STATUS = "status"  # ClickHouse does not have its newest status
    REFUND = "refund"  # ClickHouse does not have its refund
    CONTENT = "content"  # segments or cost differ: publishing events again cannot repair that
    AHEAD = "ahead"  # ClickHouse has a status that PostgreSQL does not: settlement lags
    SURPLUS = "surplus"  # PostgreSQL does not have it


REPAIRABLE: Final = frozenset({Kind.MISSING, Kind.STATUS, Kind.REFUND})


@dataclasses.dataclass(slots=True)
class CustomerDay:
    """A day of a customer whose totals differ.

    `messages`: how each differing message differs; `stale`: minutes (seconds since 1970) whose messages agree, so that
    only their statistics must be computed again; `in_flight`: how many messages are too recent to judge.
    """

    customer_id: UUID
    day: dt.date
    postgresql: Total
    clickhouse: Total
    messages: dict[UUID, Kind] = dataclasses.field(default_factory=dict)
    stale: set[int] = dataclasses.field(default_factory=set)
    in_flight: int = 0

    @property
    def differs(self) -> bool:
        """Whether there are differences other than messages in flight."""
        return bool(self.messages or self.stale)


def day_differences(
    *, database: ClickHouse, day: dt.date, in_flight: dt.timedelta, customer_id: UUID | None = None
) -> Iterator[CustomerDay]:
    """Customers whose totals of the day (UTC) differ, with details. Raises ClickHouseError, django.db.Error."""
    since = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
    ours = totals(since=since, until=since + DAY, customer_id=customer_id)
    theirs = _clickhouse_totals(database, _BY_DAY, since, since + DAY, customer_id)
    for key in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(key, NOTHING), theirs.get(key, NOTHING)
        if here != there:
            found = CustomerDay(key[0], day, here, there)
            _find_details(found, database=database, since=since, in_flight=in_flight)
            yield found


def _find_details(found: CustomerDay, *, database: ClickHouse, since: dt.datetime, in_flight: dt.timedelta) -> None:
    customer_id = found.customer_id
    young = dt.datetime.now(tz=dt.UTC) - in_flight
    ours = totals(since=since, until=since + DAY, customer_id=customer_id, by_minute=True)
    theirs = _clickhouse_totals(database, _BY_MINUTE, since, since + DAY, customer_id)
    keys = sorted(ours.keys() | theirs.keys())
    differing = [key for key in keys if ours.get(key, NOTHING) != theirs.get(key, NOTHING)]
    for _, minute in differing:
        start = dt.datetime.fromtimestamp(minute, tz=dt.UTC)
        known = messages_known(since=start, until=start + _MINUTE, customer_id=customer_id)
        rows = database.query(_MESSAGES, {"customer_id": customer_id, "minute": minute})
        reported = {message_id: rest for message_id, *rest in rows}
        agree = True
        for message_id in known.keys() | reported.keys():
            ours_of_it, theirs_of_it = known.get(message_id), reported.get(message_id)
            kind = _kind(ours_of_it, theirs_of_it)
            if kind is None:
                continue
            agree = False
            if _is_young(message_id, ours_of_it, theirs_of_it, young):
                found.in_flight += 1
            else:
                found.messages[message_id] = kind
        if agree:
            found.stale.add(minute)
    if not differing:  # the minutes agree with PostgreSQL, but the day's row does not agree with its minutes
        found.stale.update(minute for _, minute in keys[:1])


def _kind(ours: KnownMessage | None, theirs: list[object] | None) -> Kind | None:
    if ours is None:
        return Kind.SURPLUS
    if theirs is None:
        return Kind.MISSING
    status, segments, cost, refunded, _ = theirs
    if (segments, cost) != (ours.segments, ours.cost):
        return Kind.CONTENT
    if status != ours.status:
        return Kind.AHEAD if _is_further(str(status), ours.status) else Kind.STATUS
    return Kind.REFUND if refunded != ours.refunded else None


def _is_further(status: str, other: str) -> bool:
    return RANK.get(status, len(RANK)) > RANK[other]


def _is_young(message_id: UUID, ours: KnownMessage | None, theirs: list[object] | None, young: dt.datetime) -> bool:
    """Whether it may still be in flight: accepted or changed recently on either side, or in the outbox."""
    moments = [ids.moment(message_id)]
    if ours and ours.changed_at:
        moments.append(ours.changed_at)
    if theirs:
        moments.append(dt.datetime.fromtimestamp(int(str(theirs[-1])) / 1000, tz=dt.UTC))
    return max(moments) > young or (ours is not None and ours.in_outbox)


def _clickhouse_totals(
    database: ClickHouse, query: str, since: dt.datetime, until: dt.datetime, customer_id: UUID | None
) -> dict[tuple[UUID, int], Total]:
    parameters = {"since": int(since.timestamp()), "until": int(until.timestamp()), "customer_id": customer_id}
    return added_up(database.query(query.format(customer=_CUSTOMER if customer_id else ""), parameters))
