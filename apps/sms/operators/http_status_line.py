"""Connections that keep the first octets of an answer: its status counts even if the rest is not HTTP."""

from __future__ import annotations

import asyncio
import functools
import re
from contextvars import ContextVar
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

_LONGEST: Final = 16
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?![0-9])")

# The first octets of the answer to this task's request.
_begun: ContextVar[bytearray | None] = ContextVar("begun", default=None)


class _Handler(ResponseHandler):
    _answer: bytearray | None = None

    def set_response_params(self, **parameters: Any) -> None:  # called once for each request
        self._answer = _begun.get()
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        if self._answer is not None and len(self._answer) < _LONGEST:
            self._answer += data[: _LONGEST - len(self._answer)]
        super().data_received(data)


def connector(*, limit: int) -> aiohttp.TCPConnector:
    """A connector with at most `limit` connections. Call `begin` before each request."""
    made = aiohttp.TCPConnector(limit=limit)
    made._factory = functools.partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
    return made


def begin() -> bytearray:
    """The buffer that will get the first octets of the answer to this task's next request."""
    answer = bytearray()
    _begun.set(answer)
    return answer


def status_of(answer: bytearray) -> int | None:
    """The status at the start of an answer; None if it did not arrive."""
    found = _STATUS.match(answer)
    return int(found[1]) if found else None
