"""Headers of HTTP answers that others give us."""

from __future__ import annotations

import datetime as dt
import email.utils
import re


def retry_after_seconds(text: str) -> float | None:
    """Retry-After (RFC 9110, section 10.2.3), seconds or a date, in seconds from now; None if it is neither."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())
