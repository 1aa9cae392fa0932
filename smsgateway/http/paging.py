"""Pages of a list, newest first: a cursor stands for the place after a page's last item."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import Final, NamedTuple

from smsgateway.http.query import Query, Wrong, moment, whole

PARAMETERS: Final = ("from", "to", "limit", "cursor")
LONGEST: Final = dt.timedelta(days=92)
USUAL: Final = dt.timedelta(days=31)
_SOON: Final = dt.timedelta(minutes=5)
_LARGEST: Final = 500
_USUAL_LIMIT: Final = 50


class Page(NamedTuple):
    """Which part of a list is asked for: a half-open time range, and within it `limit` items before `before`."""

    since: dt.datetime
    until: dt.datetime
    limit: int
    before: int | None


def read_page(asked: Query) -> Page:
    """The page that these parameters ask for. What is wrong is noted in `asked`; check it before using the page."""
    until = asked.read("to", moment)
    since = asked.read("from", moment)
    # Clocks of several machines differ: what was made this moment must not be missing.
    last = until or dt.datetime.now(tz=dt.UTC) + _SOON
    first = since or last - USUAL
    if first >= last:
        asked.refuse("from", "invalid", "must be earlier than to")
    elif last - first > LONGEST + _SOON:
        asked.refuse("from", "range_too_long", f"the range may span {LONGEST.days} days at most")
    limit = asked.read("limit", whole(1, _LARGEST))
    return Page(first, last, limit or _USUAL_LIMIT, asked.read("cursor", _place))


def cursor(place: int) -> str:
    """The cursor of the page after the item at this place."""
    return base64.urlsafe_b64encode(place.to_bytes(16)).decode().rstrip("=")


def _place(text: str) -> int:
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 16:
        raise Wrong("invalid", "must be the next_cursor of a page before")
    return int.from_bytes(found)
