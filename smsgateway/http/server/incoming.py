"""A request as it was read, and the names of its headers in WSGI (PEP 3333)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httptools

_MOST_NAMES: Final = 1000
# By the header's name as it was sent; "" for one that is ignored.
_keys: dict[bytes, str] = {}


class Incoming:
    """A whole request. `meta`: its part of the WSGI environment, complete once the head was read.

    `reserved`: how many bytes of the budget for large bodies it uses.
    """

    __slots__ = ("body", "keep_alive", "meta", "method", "path", "reserved", "started", "target", "version")

    def __init__(self, base: Mapping[str, Any], started: float) -> None:
        """`base`: what all requests of the connection have in common. `started`: the loop's time of the first byte."""
        self.meta = dict(base)
        self.started = started
        self.target = b""
        self.method = self.path = self.version = ""
        self.body = b""
        self.keep_alive = False
        self.reserved = 0

    def add_header(self, name: bytes, value: bytes) -> None:
        """Add a header. One that is repeated becomes a list. Names with an underscore could pass for others."""
        key = _keys.get(name)
        if key is None:
            key = _key(name)
        if not key:
            return
        text = value.decode("latin-1").strip(" \t")
        meta = self.meta
        if key in meta:
            text = f"{meta[key]}{';' if key == 'HTTP_COOKIE' else ','}{text}"
        meta[key] = text

    def read_target(self) -> None:
        """Set the path and the query. Raises httptools.HttpParserInvalidURLError."""
        target = self.target
        if not target.startswith(b"/") and target != b"*":
            url = httptools.parse_url(target)
            path, query = url.path or b"/", url.query or b""
        else:
            path, _, query = target.partition(b"?")
            query = query.partition(b"#")[0]
        self.path = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
        self.meta["PATH_INFO"] = self.path
        self.meta["QUERY_STRING"] = query.decode("latin-1")
        self.meta["REQUEST_METHOD"] = self.method

    def environ(self) -> dict[str, Any]:
        """The WSGI environment, with the body."""
        return {
            **self.meta,
            "RAW_URI": self.target.decode("latin-1"),
            "SERVER_PROTOCOL": f"HTTP/{self.version}",
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.input": io.BytesIO(self.body),
        }


def _key(name: bytes) -> str:
    text = name.decode("latin-1").upper()
    if "_" in text:
        key = ""
    elif text in ("CONTENT-TYPE", "CONTENT-LENGTH"):
        key = text.replace("-", "_")
    else:
        key = "HTTP_" + text.replace("-", "_")
    if len(_keys) < _MOST_NAMES:
        _keys[name] = key
    return key
