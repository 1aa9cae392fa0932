"""The done date of a receipt: YYMMDDhhmm by the standard, and the other ways in which SMSCs write a moment."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator
from typing import Final

# By the number of digits. Where two fit, the moment nearest to now counts.
_DIGITS: Final = {
    8: ("%Y%m%d", "%y%m%d%H"),
    10: ("%y%m%d%H%M",),
    12: ("%y%m%d%H%M%S", "%Y%m%d%H%M"),
    14: ("%Y%m%d%H%M%S",),
}
# A count of seconds has ten digits too. It is one only if it means a moment of about now.
_NEAR: Final = 400 * 86_400_000
# Of SMPP 3.4, section 7.1.1: tenths of a second, and the offset in quarters of an hour.
_ABSOLUTE: Final = re.compile(r"([0-9]{12})[0-9]([0-9]{2})([+-])")
_WRITTEN: Final = re.compile(
    r"(?P<date>[0-9]{2,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4})[T ]+(?P<time>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,][0-9]+)?"
    r"[ ]*(?P<offset>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?",
    re.IGNORECASE,
)
_COMPACT: Final = re.compile(r"([0-9]{8})[T ]?([0-9]{6}|[0-9]{4})[ ]*(Z|[+-][0-9]{2}:?[0-9]{2})?", re.IGNORECASE)
_DATES: Final = ("%Y %m %d", "%y %m %d", "%d %m %Y")
_NONE: Final = re.compile(r"[0:/. TZ+-]*")


def moment_of(written: str, *, zone: zoneinfo.ZoneInfo | None, now: int) -> int | None:
    """A done date in milliseconds since 1970, or None if it is none or has no zone: the time of arrival counts then.

    `zone`: of the dates that name none. `now`: in milliseconds.
    """
    if _NONE.fullmatch(written):
        return None
    found = [moment for moment in _readings(written.strip(), zone, now) if moment > 0]
    return min(found, key=lambda moment: abs(moment - now)) if found else None


def _readings(written: str, zone: zoneinfo.ZoneInfo | None, now: int) -> Iterator[int]:
    if absolute := _ABSOLUTE.fullmatch(written):
        quarters = int(absolute[2]) * (1 if absolute[3] == "+" else -1)
        if abs(quarters) < 96:
            yield from _parsed(absolute[1], ("%y%m%d%H%M%S",), dt.timezone(dt.timedelta(minutes=15 * quarters)))
        return
    digits = written.split(" ", 1)[0]
    if digits.isascii() and digits.isdigit() and len(written) == len(digits):
        since_1970 = {10: 1000, 13: 1}.get(len(digits), 0) * int(digits)
        if abs(since_1970 - now) < _NEAR:
            yield since_1970
        yield from _parsed(digits, _DIGITS.get(len(digits), ()), zone)
        return
    if matched := _WRITTEN.fullmatch(written):
        date = re.sub(r"[-/.]", " ", matched["date"])
        time = matched["time"] if matched["time"].count(":") == 2 else matched["time"] + ":00"
        of_text = _offset(matched["offset"]) or zone
        yield from _parsed(f"{date} {time}", [f"{form} %H:%M:%S" for form in _DATES], of_text)
    elif matched := _COMPACT.fullmatch(written):
        yield from _parsed(matched[1] + matched[2].ljust(6, "0"), ("%Y%m%d%H%M%S",), _offset(matched[3]) or zone)


def _parsed(text: str, forms: tuple[str, ...] | list[str], zone: dt.tzinfo | None) -> Iterator[int]:
    if zone is None:
        return
    for form in forms:
        try:
            yield int(dt.datetime.strptime(text, form).replace(tzinfo=zone).timestamp() * 1000)
        except (ValueError, OverflowError):
            continue


def _offset(text: str | None) -> dt.tzinfo | None:
    if not text:
        return None
    if text.upper() in ("Z", "UTC", "GMT"):
        return dt.UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return dt.timezone(dt.timedelta(minutes=minutes if text[0] == "+" else -minutes)) if minutes < 1440 else None
