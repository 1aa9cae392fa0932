"""Query parameters of the reporting API. What is wrong is noted in the `Query`, whose `check` then tells all of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from apps.reporting.queries.intervals import UTC
from apps.sms import statuses
from apps.sms.encoding import GSM7, UCS2
from smsgateway.http import query
from smsgateway.http.query import Query

RANGE: Final = ("from", "to")
operator: Final = query.matching(r"[A-Za-z0-9_-]{1,64}", "an operator's name, such as mci")
CHOICES: Final = {"status": statuses.ORDER, "encoding": (GSM7, UCS2)}
"""The filters that have few values. Another value is refused, because it would only find nothing."""
filters: Final[dict[str, Callable[[str], str]]] = {
    "operator": operator,
    "country": query.matching(r"[A-Za-z0-9_-]{1,64}", "a country's code, such as IR"),
    **{name: query.one_of(choices) for name, choices in CHOICES.items()},
}
yes_or_no: Final = query.one_of(("0", "1"))


class Range(NamedTuple):
    """A half-open range, in UTC."""

    since: dt.datetime
    until: dt.datetime


def read_zone(asked: Query) -> ZoneInfo:
    """The time zone `tz`; UTC if it is not told."""
    return asked.read("tz", query.zone) or UTC


def read_range(asked: Query, *, longest: dt.timedelta, zone: ZoneInfo) -> Range | None:
    """The range `from`, `to`, which must both be told. A date alone is its midnight in the zone."""
    asked.require(*RANGE)
    since, until = (asked.read(bound, query.moment_in(zone)) for bound in RANGE)
    return _checked(asked, since, until, longest)


def read_recent_range(asked: Query, *, longest: dt.timedelta, usual: dt.timedelta) -> Range | None:
    """The same in UTC, where both may be left out: up to now, and `usual` long."""
    since, until = (asked.read(bound, query.moment) for bound in RANGE)
    until = until or dt.datetime.now(tz=dt.UTC)
    return _checked(asked, since or until - usual, until, longest)


def _checked(asked: Query, since: dt.datetime | None, until: dt.datetime | None, longest: dt.timedelta) -> Range | None:
    if since is None or until is None:
        return None
    if since >= until:
        asked.refuse("to", "invalid", "must be later than from, which is in the range while to is not")
    elif until - since > longest:
        asked.refuse("to", "range_too_long", f"the range may span {longest.days} days at most")
    return Range(since, until)
