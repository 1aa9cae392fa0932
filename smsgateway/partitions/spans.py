"""Spans of time as ranges of ids, the names of their partitions, and which spans are missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple
from uuid import UUID

from smsgateway import ids

Interval = Literal["day", "month"]


class Span(NamedTuple):
    """The time that a partition covers, from midnight to midnight in UTC; the end is not included."""

    start: dt.datetime
    end: dt.datetime

    @property
    def low(self) -> UUID:
        """The first id of the span."""
        return ids.lowest_id(self.start)

    @property
    def high(self) -> UUID:
        """The first id after the span."""
        return ids.lowest_id(self.end)

    def overlaps(self, other: Span) -> bool:
        """Whether both spans share a moment."""
        return self.start < other.end and other.start < self.end


def midnight(day: dt.date) -> dt.datetime:
    """The start of the day in UTC."""
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)


def day_of(moment: dt.datetime) -> dt.datetime:
    """The start of the moment's day in UTC."""
    return midnight(moment.astimezone(dt.UTC).date())


def period(moment: dt.datetime, interval: Interval) -> Span:
    """The day or month that holds the moment."""
    start = day_of(moment)
    if interval == "day":
        return Span(start, start + dt.timedelta(days=1))
    start = start.replace(day=1)
    return Span(start, (start + dt.timedelta(days=31)).replace(day=1))


def missing(existing: Iterable[Span], *, since: dt.datetime, until: dt.datetime, interval: Interval) -> Iterator[Span]:
    """Yield the spans that are missing between two moments. None overlaps an existing span, of any interval."""
    known = sorted(existing)
    at = since
    while at < until:
        holder = next((span for span in known if span.start <= at < span.end), None)
        if holder is None:
            whole = period(at, interval)
            start = max((span.end for span in known if span.end <= at), default=whole.start)
            end = min((span.start for span in known if span.start > at), default=whole.end)
            holder = Span(max(start, whole.start), min(end, whole.end))
            yield holder
        at = holder.end


def covered_until(existing: Iterable[Span], moment: dt.datetime) -> dt.datetime:
    """The end of the existing spans that follow each other from this moment without a gap."""
    for span in sorted(existing):
        if span.start <= moment < span.end:
            moment = span.end
    return moment


def name_of(table: str, day: dt.date) -> str:
    """The name of a day's partition."""
    return name(table, period(midnight(day), "day"))


def name(table: str, span: Span) -> str:
    """The name of a span's partition: its day, its month, or its first and last day."""
    if span == period(span.start, "day"):
        return f"{table}_{span.start:%Y%m%d}"
    if span == period(span.start, "month"):
        return f"{table}_{span.start:%Y%m}"
    return f"{table}_{span.start:%Y%m%d}_{span.end - dt.timedelta(days=1):%Y%m%d}"


def days_of(partition: str, *, table: str) -> tuple[dt.date, dt.date]:
    """The first and the last day of a partition, from its name as `name` writes it."""
    first, _, last = partition.removeprefix(f"{table}_").partition("_")
    if len(first) == len("202611"):
        start = dt.datetime.strptime(first, "%Y%m").date()
        return start, (start + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)
    start, end = (dt.datetime.strptime(text, "%Y%m%d").date() for text in (first, last or first))
    return start, end
