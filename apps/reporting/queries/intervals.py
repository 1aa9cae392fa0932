"""Intervals of time that statistics are grouped by: the minute, the hour and the day, in a time zone.

The starts of hours and days are computed here, and ClickHouse receives them. Its own `toStartOfHour` is wrong on days
when the clock changes by part of an hour (Australia/Lord_Howe) and for offsets that are not whole hours
(Pacific/Chatham), and its time zone data may be older than ours.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

UTC: Final = ZoneInfo("UTC")

# Longer than any interval: when a zone moves across the date line, a day has up to 48 hours.
_LONGEST_INTERVAL: Final = 3 * 86_400
# No zone changes its clock twice within this time.
_SCAN_STEP: Final = 6 * 3600


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """A step of `seconds`. `longest`: the widest range of one query in UTC, and `longest_elsewhere` in other zones.

    Intervals follow each other without gap or overlap. An hour ends when the local clock shows a full hour, or changes.
    A day begins at the first moment of its date and ends where the next day begins, so it may have 23 or 25 hours.
    """

    name: str
    seconds: int
    longest: dt.timedelta
    longest_elsewhere: dt.timedelta

    @property
    def start(self) -> str:
        """SQL for the start of `time`'s interval, in seconds since 1970. %(starts)s stands for all starts."""
        return "toInt64(toUnixTimestamp(time))" if self is MINUTE else "roundDown(toUnixTimestamp(time), %(starts)s)"

    def limit(self, zone: ZoneInfo) -> dt.timedelta:
        """The widest range in this zone."""
        return self.longest if zone.key == UTC.key else self.longest_elsewhere

    def label(self, start: dt.datetime, zone: ZoneInfo) -> dt.datetime | dt.date:
        """The name of the interval: a date for a day, otherwise its start in the zone.

        Until 1972 some zones had offsets with seconds, which ISO 8601 cannot express: then the start is in UTC.
        """
        there = start.astimezone(dt.UTC if zone.key == UTC.key else zone)
        if self is DAY:
            return there.date()
        return start if _offset(int(start.timestamp()), zone) % 60 else there

    def first_start(self, moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
        """The start, in UTC, of the first interval that begins at `moment` or later."""
        low = math.ceil(moment.timestamp())
        found = self._starts(low, low + _LONGEST_INTERVAL, zone)
        return _moment(found[bisect_left(found, low)])

    def starts(self, since: dt.datetime, until: dt.datetime, zone: ZoneInfo) -> list[dt.datetime]:
        """The starts, in UTC, of all intervals with a part in [since, until). The first may begin before `since`."""
        low, high = math.floor(since.timestamp()), math.ceil(until.timestamp())
        return [_moment(start) for start in self._starts(low, high, zone)]

    def _starts(self, low: int, high: int, zone: ZoneInfo) -> list[int]:
        if self is MINUTE:  # in every zone, rows are for minutes of UTC
            return list(range(low // 60 * 60, high, 60))
        found: list[int] = []
        date = None
        for number, (begin, end, offset) in enumerate(_spans(low - _LONGEST_INTERVAL, high, zone)):
            start = begin if number else self._next_start(begin - 1, offset)
            while start < end:
                next_date = (start + offset) // 86_400
                # When the clock goes back over midnight, the later day has begun already.
                if self is not DAY or date is None or next_date > date:
                    found.append(start)
                    date = next_date
                start = self._next_start(start, offset)
        return found[bisect_right(found, low) - 1 :]

    def _next_start(self, moment: int, offset: int) -> int:
        """The first moment after this one at which the local clock shows a multiple of the step."""
        return moment + self.seconds - (moment + offset) % self.seconds


def _spans(low: int, high: int, zone: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """The parts of [low, high) within which the zone's offset is constant: begin, end and offset, in seconds."""
    begin, offset = low, _offset(low, zone)
    at = low
    while at < high:
        following = min(at + _SCAN_STEP, high)
        if _offset(following, zone) != offset:
            change = _change(at, following, zone)
            yield begin, change, offset
            begin, offset = change, _offset(following, zone)
        at = following
    yield begin, high, offset


def _change(low: int, high: int, zone: ZoneInfo) -> int:
    """The first moment in (low, high] whose offset differs from that of `low`."""
    before = _offset(low, zone)
    return low + bisect_left(range(low, high), True, key=lambda second: _offset(second, zone) != before)


def _offset(second: int, zone: ZoneInfo) -> int:
    offset = _moment(second).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _moment(second: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(second, tz=dt.UTC)


_DAYS: Final = dt.timedelta(days=1)
MINUTE: Final = Interval("minute", 60, 7 * _DAYS, 7 * _DAYS)
HOUR: Final = Interval("hour", 3600, 92 * _DAYS, 92 * _DAYS)
DAY: Final = Interval("daily", 86_400, 400 * _DAYS, 92 * _DAYS)
