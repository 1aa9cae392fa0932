"""Reads and checks query parameters, and reports every wrong one."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable, Collection
from typing import Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import QueryDict

from smsgateway import ids, zones
from smsgateway.errors import InvalidRequest
from smsgateway.http.field_errors import FieldError, fault

Value = TypeVar("Value")

# What ClickHouse's DateTime can hold.
_EARLIEST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATEST: Final = dt.datetime(2106, 1, 1, tzinfo=dt.UTC)


class Wrong(ValueError):
    """A parameter's value is wrong; has a stable code and a reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Query:
    """The parameters of one request. Read each, `refuse` combinations that are not allowed, then `check`."""

    def __init__(self, given: QueryDict, *, known: Collection[str]) -> None:
        self.errors: list[FieldError] = []
        self._values: dict[str, str] = {}
        for name, texts in given.lists():
            if name not in known:
                shown = name[:100].encode("ascii", "backslashreplace").decode()
                self.refuse(shown, "unknown", f"is not a known parameter; use {', '.join(known)}")
            elif len(texts) > 1:
                self.refuse(name, "repeated", "must be given only once")
            else:
                self._values[name] = str(texts[0])
        self._given = given

    def read(self, name: str, parse: Callable[[str], Value]) -> Value | None:
        """The parameter's value; None if it is missing, or wrong, which `check` then reports."""
        if name not in self._values:
            return None
        try:
            return parse(self._values[name])
        except Wrong as wrong:
            self.refuse(name, wrong.code, str(wrong))
            return None

    def has(self, name: str) -> bool:
        """Whether the parameter is given, even with a wrong value."""
        return name in self._given

    def require(self, *names: str) -> None:
        """Refuse the request if one of these parameters is missing."""
        for name in names:
            if name not in self._given:
                self.refuse(name, "missing", "is required")

    def refuse(self, name: str, code: str, reason: str) -> None:
        """Add an error about a parameter."""
        self.errors.append(fault(name, code, reason))

    def check(self) -> None:
        """Raises InvalidRequest with one entry for each wrong, missing, repeated or unknown parameter."""
        if self.errors:
            raise InvalidRequest("Some query parameters are wrong.", errors=self.errors)


def ulid(text: str) -> UUID:
    """An id."""
    try:
        return ids.from_text(text)
    except ValueError:
        raise Wrong("invalid", "must be a ULID of 26 characters") from None


def zone(text: str) -> ZoneInfo:
    """A time zone of the IANA database."""
    try:
        return zones.zone_named(text)
    except zones.UnknownZone as error:
        raise Wrong("unknown_zone", f"must be {error}") from None


def moment_in(midnights_of: dt.tzinfo) -> Callable[[str], dt.datetime]:
    """Like `moment`, but a date without a time means midnight in that zone."""
    return functools.partial(moment, midnights_of=midnights_of)


def moment(text: str, *, midnights_of: dt.tzinfo = dt.UTC) -> dt.datetime:
    """The moment in UTC; a date without a time means midnight in UTC."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise Wrong(
            "invalid", "must be an ISO 8601 date or time, such as 2026-01-31T08:00:00Z; write + as %2B"
        ) from None
    if found.tzinfo is None:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise Wrong("no_offset", "needs an offset from UTC, such as Z or %2B03:30")
        found = found.replace(tzinfo=midnights_of)
    if not _EARLIEST <= found <= _LATEST:
        raise Wrong("invalid", "must be between 1970 and 2105")
    return found.astimezone(dt.UTC)


def matching(pattern: str, what: str) -> Callable[[str], str]:
    """A text that matches a pattern; otherwise the error says that it must be `what`."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise Wrong("invalid", f"must be {what}")
        return text

    return parse


def one_of(choices: Collection[str]) -> Callable[[str], str]:
    """One of these texts."""

    def parse(text: str) -> str:
        if text not in choices:
            raise Wrong("invalid", f"must be one of {', '.join(choices)}")
        return text

    return parse


def some_of(choices: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Some of these texts, comma separated, each once."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(text.split(",")) if text else ()
        if len(set(found)) < len(found) or not set(found) <= set(choices):
            raise Wrong("invalid", f"must be some of {', '.join(choices)}, comma separated, each once")
        return found

    return parse


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number within these bounds."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest):
            raise Wrong("invalid", f"must be a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def text_of(longest: int) -> Callable[[str], str]:
    """A text that a database can hold, of 1 to `longest` characters."""

    def parse(text: str) -> str:
        if not 0 < len(text) <= longest or "\x00" in text:
            raise Wrong("invalid", f"must have 1 to {longest} characters and no NUL")
        return text

    return parse
