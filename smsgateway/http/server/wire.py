"""The head of an answer on the wire (RFC 9112)."""

from __future__ import annotations

import functools
import http
import time
from collections.abc import Iterable
from email.utils import formatdate

Headers = Iterable[tuple[str, str]]


def head(status: int, headers: Headers, *, keep_alive: bool, more: str = "", reason: str = "") -> bytes:
    """The status line and the headers. `more`: the line that says how long the body is, with its end."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    connection = "keep-alive" if keep_alive else "close"
    text = f"{_status_line(status, reason)}{_date(int(time.time()))}Connection: {connection}\r\n{lines}{more}\r\n"
    return text.encode("latin-1")


def has_no_body(method: str, status: int) -> bool:
    """Whether an answer ends with its head, whatever its headers say (RFC 9112, section 6.3)."""
    return method == "HEAD" or status < 200 or status in (204, 304)


@functools.lru_cache(maxsize=200)
def _status_line(status: int, reason: str) -> str:
    if not reason:
        try:
            reason = http.HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
    return f"HTTP/1.1 {status} {reason}\r\n"


@functools.lru_cache(maxsize=2)
def _date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"
