"""Pages of a list, newest first. A cursor marks the position after a page's last item."""

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
    """The requested part of a list: a half-open time range, and in it `limit` items before the position `before`."""

    since: dt.datetime
    until: dt.datetime
    limit: int
    before: int | None


def read_page(query: Query) -> Page:
    """The requested page. Errors are added to `query`; call its `check` before you use the page."""
    until = query.read("to", moment)
    since = query.read("from", moment)
    # Clocks of machines differ, and the newest items must not be missing.
    last = until or dt.datetime.now(tz=dt.UTC) + _SOON
    first = since or last - USUAL
    if first >= last:
        query.refuse("from", "invalid", "must be earlier than to")
    elif last - first > LONGEST + _SOON:
        query.refuse("from", "range_too_long", f"the range may span at most {LONGEST.days} days")
    limit = query.read("limit", whole(1, _LARGEST))
    return Page(first, last, limit or _USUAL_LIMIT, query.read("cursor", _place))


def cursor(place: int) -> str:
    """The cursor of the page that follows the item at this position."""
    return base64.urlsafe_b64encode(place.to_bytes(16)).decode().rstrip("=")


def _place(text: str) -> int:
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 16:
        raise Wrong("invalid", "must be the next_cursor of an earlier page")
    return int.from_bytes(found)
