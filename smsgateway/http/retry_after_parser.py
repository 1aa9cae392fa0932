"""Reads the Retry-After header of others' HTTP responses."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from collections.abc import Iterable
from typing import Final

# A longer wait can only be a mistake.
_LONGEST_SECONDS: Final = 366 * 86_400
_LONGEST_TEXT: Final = 64


def retry_after_seconds(values: Iterable[str]) -> float | None:
    """Convert Retry-After (RFC 9110, section 10.2.3), whole seconds or a date, to seconds from now.

    `values`: all fields of that name. Returns None unless there is exactly one usable value: whole seconds, or a date
    in one of HTTP's three forms, neither of them more than a year ahead. Never raises.
    """
    match list(values):
        case [text]:
            return _seconds(text.strip(" \t"))
        case _:
            return None


def _seconds(text: str) -> float | None:
    if not text.isascii() or len(text) > _LONGEST_TEXT:
        return None
    if re.fullmatch(r"[0-9]+", text):
        seconds = float(text)
    else:
        try:
            moment = email.utils.parsedate_to_datetime(text)
            # HTTP dates are in UTC, even in the form without a zone.
            aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
            seconds = max(0.0, (aware - dt.datetime.now(dt.UTC)).total_seconds())
        except (ValueError, OverflowError, IndexError, TypeError):  # what the parser is known to raise
            return None
    return seconds if seconds <= _LONGEST_SECONDS else None
