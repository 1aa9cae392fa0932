"""Query parameters of the reporting API. Errors are collected in the `Query`, whose `check` raises all of them."""

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
"""Filters with a fixed set of values. Other values are refused, because they could match nothing."""
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


def read_zone(params: Query) -> ZoneInfo:
    """The time zone `tz`; UTC by default."""
    return params.read("tz", query.zone) or UTC


def read_range(params: Query, *, longest: dt.timedelta, zone: ZoneInfo) -> Range | None:
    """The range `from`, `to`; both are required. A date means its midnight in the zone."""
    params.require(*RANGE)
    since, until = (params.read(bound, query.moment_in(zone)) for bound in RANGE)
    return _checked(params, since, until, longest)


def read_recent_range(params: Query, *, longest: dt.timedelta, usual: dt.timedelta) -> Range | None:
    """The range in UTC with both bounds optional. By default it ends now and is `usual` long."""
    since, until = (params.read(bound, query.moment) for bound in RANGE)
    until = until or dt.datetime.now(tz=dt.UTC)
    return _checked(params, since or until - usual, until, longest)


def _checked(
    params: Query, since: dt.datetime | None, until: dt.datetime | None, longest: dt.timedelta
) -> Range | None:
    if since is None or until is None:
        return None
    if since >= until:
        params.refuse("to", "invalid", "must be later than from, because the range includes from but not to")
    elif until - since > longest:
        params.refuse("to", "range_too_long", f"the range may span {longest.days} days at most")
    return Range(since, until)
