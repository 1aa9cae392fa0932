"""Steps of time in which statistics are told: by the minute, the hour, the day, in a time zone."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

UTC: Final = ZoneInfo("UTC")


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """A step. `longest`: the widest range that one question may span, and in another zone than UTC.

    `start` is how ClickHouse finds the start of the step that `time` lies in; %(tz)s stands for the zone.
    """

    name: str
    start: str
    longest: dt.timedelta
    longest_elsewhere: dt.timedelta

    def limit(self, zone: ZoneInfo) -> dt.timedelta:
        """The widest range in this zone."""
        return self.longest if zone.key == UTC.key else self.longest_elsewhere

    def label(self, start: dt.datetime, zone: ZoneInfo) -> dt.datetime | dt.date:
        """How a step that starts then is told: a day by its date, others by their moment in the zone."""
        there = start.astimezone(dt.UTC if zone.key == UTC.key else zone)
        return there.date() if self is DAY else there

    def first_start(self, moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
        """The start, in UTC, of the first step that begins at `moment` or later."""
        floor = self._floor(moment, zone)
        return floor if floor == moment else self._after(floor, zone)

    def starts(self, since: dt.datetime, until: dt.datetime, zone: ZoneInfo) -> Iterator[dt.datetime]:
        """The starts, in UTC, of all steps that begin in [since, until)."""
        start = self.first_start(since, zone)
        while start < until:
            yield start
            start = self._after(start, zone)

    def _floor(self, moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
        there = moment.astimezone(zone).replace(microsecond=0)
        match self.name:
            case "minute":
                there = there.replace(second=0)
            case "hour":
                there = there.replace(minute=0, second=0)
            case _:
                there = dt.datetime(there.year, there.month, there.day, tzinfo=zone)
        return there.astimezone(dt.UTC)

    def _after(self, start: dt.datetime, zone: ZoneInfo) -> dt.datetime:
        if self is not DAY:
            return start + (dt.timedelta(minutes=1) if self is MINUTE else dt.timedelta(hours=1))
        # A day may have 23 or 25 hours.
        following = start.astimezone(zone).date() + dt.timedelta(days=1)
        return dt.datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(dt.UTC)


_DAYS: Final = dt.timedelta(days=1)
MINUTE: Final = Interval("minute", "time", 7 * _DAYS, 7 * _DAYS)
HOUR: Final = Interval("hour", "toStartOfHour(toTimeZone(time, %(tz)s))", 92 * _DAYS, 92 * _DAYS)
DAY: Final = Interval("daily", "toStartOfDay(toTimeZone(time, %(tz)s))", 400 * _DAYS, 92 * _DAYS)
