"""One client's connection: reads whole requests within limits, answers them in order, and never blocks.

The parser is httptools (llhttp, the one of Node.js). A connection has at most one request in work; those that follow on
its heels wait, and when enough wait, nothing more is read. So a client costs a socket and a bounded buffer, whatever it
does. `check`, called every second, ends what takes too long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import httptools

from smsgateway import errors
from smsgateway.http.server import wire
from smsgateway.http.server.incoming import Incoming
from smsgateway.http.server.parse_errors import error_of

_LONGEST_LINE: Final = 8190
_MOST_HEADERS: Final = 100
_LARGEST_HEAD: Final = 65_536
# More than this in the socket's buffer, and the connection's next request waits.
_HIGH_WATER: Final = 65_536
_MOST_WAITING: Final = 16
# A client that falls silent in the middle of its request, ...
_SILENCE_SECONDS: Final = 10.0
# ... that sends it in drops, or that takes nothing of its answer, is left.
_REQUEST_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 60.0
# How long a client that was refused may go on to send before it is cut off and may miss the answer.
_LINGER_SECONDS: Final = 5.0
# Larger bodies share a budget.
SMALL_BODY: Final = 65_536

_BAD_BODY: Final = "The body ended before its announced end."


class Host(Protocol):
    """What all connections of a process share (see `smsgateway.http.server.service`)."""

    loop: asyncio.AbstractEventLoop
    max_body_bytes: int
    # Connections that wait for a request, the longest first.
    idle: dict[Connection, None]

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...

    def base_environ(self, transport: asyncio.BaseTransport) -> dict[str, Any]:
        """What all requests of a connection have in common."""

    def trusts(self, address: str) -> bool:
        """Whether X-Forwarded-Proto from this address is believed."""

    def reserve(self, size: int) -> bool:
        """Take so many bytes (or give them back) from the budget for large bodies. False if they do not fit."""

    def admit(self, reading: Incoming) -> None:
        """Raises an error of `smsgateway.errors` if the request is refused before its body is read."""

    def handle(self, connection: Connection, incoming: Incoming) -> None:
        """Answer a request, now or later."""

    def refusal(self, error: errors.GatewayError) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of the problem document for a request that no view sees."""


class Connection(asyncio.Protocol):
    """A connection. Its methods run on the loop's thread."""

    def __init__(self, service: Host, keep_alive_seconds: float) -> None:
        self._service = service
        self._keep_alive_seconds = keep_alive_seconds
        self._parser = httptools.HttpRequestParser(self)
        self._base: dict[str, Any] = {}
        self._trusts_proxy = False
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.address = ""
        # The request that is being read, and how much of it has come.
        self._reading: Incoming | None = None
        self._in_body = False
        self._headers = 0
        self._size = 0
        self._parts: list[bytes] = []
        self._continue_due = False
        # The header that says how long the body is, if there is one.
        self._framing = b""
        self._is_resuming = False
        # Requests that wait, and the one in work. An error is the refusal of a request that was not read to its end.
        self._waiting: deque[Incoming | errors.GatewayError] = deque()
        self.working: Incoming | None = None
        self._is_advancing = False
        # What comes now belongs to no request.
        self._is_deaf = False
        self._is_last = False
        self._paused_reading = False
        self._ended = False
        self.lost = False
        self._writable: Callable[[], None] | None = None
        self._is_write_paused = False
        self._touched = 0.0
        self._is_closing = False
        # By when a client that was refused must be gone.
        self._gone_by: float | None = None
        # Bytes that were handed to the socket's buffer; when and how many of them had left it when that was checked.
        self._written = 0
        self._sent: tuple[float, int] | None = None

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._touched = self._service.loop.time()
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self._base = self._service.base_environ(transport)
        self._trusts_proxy = self._service.trusts(self.address)
        self._service.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._drop_unread()
        while self._waiting:
            self._release(self._waiting.popleft())
        self._service.closed(self)
        if self._writable is not None:
            self._writable()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._touched = self._service.loop.time()
        self._service.idle.pop(self, None)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:  # the connection stays HTTP/1.1
                data = b"" if self._is_deaf else data[upgrade.args[0] :]
                self._parse_without_upgrade()
            except httptools.HttpParserError as error:
                if not self._is_deaf:
                    self._refuse(error_of(error, in_body=self._in_body))
                break
        if self._reading is not None and not self._in_body and not self._is_deaf:
            self._size += len(data)
            if self._size > _LARGEST_HEAD:
                self._refuse(errors.HeadersTooLarge("Send fewer or shorter headers."))
        self._advance()

    def eof_received(self) -> bool:
        """The client sends no more; it may still read."""
        self._ended = True
        if self._reading is not None and not self._is_deaf:
            if self._in_body:
                self._refuse(errors.MalformedRequest(_BAD_BODY))
            else:
                self._drop_unread()
        self._is_deaf = True
        self._advance()
        return self.working is not None or bool(self._waiting)

    def pause_writing(self) -> None:
        self._is_write_paused = True

    def resume_writing(self) -> None:
        self._is_write_paused = False
        if self._writable is not None:
            self._writable()
        self._advance()

    # The parser's calls

    def on_message_begin(self) -> None:
        if self._is_deaf or self._is_resuming:
            return
        self._reading = Incoming(self._base, self._touched)
        self._in_body = False
        self._headers = self._size = 0
        self._parts = []

    def on_url(self, part: bytes) -> None:
        reading = self._reading
        if reading is None or self._is_resuming:
            return
        reading.target += part
        if len(reading.target) > _LONGEST_LINE:
            raise errors.UriTooLong("Send fewer or shorter parameters.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body or self._reading is None:  # a trailer
            return
        self._headers += 1
        if self._headers > _MOST_HEADERS or len(name) + len(value) > _LONGEST_LINE:
            raise errors.HeadersTooLarge("Send fewer or shorter headers.")
        self._reading.add_header(name, value)

    def on_headers_complete(self) -> None:
        reading = self._reading
        if reading is None or self._is_resuming:
            return
        reading.keep_alive = self._parser.should_keep_alive()
        reading.version = self._parser.get_http_version()
        reading.method = self._parser.get_method().decode("ascii")
        if reading.version not in ("1.1", "1.0") or reading.method == "CONNECT":
            raise errors.MalformedRequest("Use HTTP/1.1.")
        try:
            reading.read_target()
        except httptools.HttpParserInvalidURLError:
            raise errors.MalformedRequest("The request line is not valid.") from None
        meta = reading.meta
        if self._trusts_proxy and meta.get("HTTP_X_FORWARDED_PROTO") == "https":
            meta["wsgi.url_scheme"] = "https"
        self._in_body = True
        self._size = 0
        coding = meta.pop("HTTP_TRANSFER_ENCODING", None)
        if coding is not None and coding.lower() != "chunked":
            raise errors.MalformedRequest("Transfer-Encoding must be chunked.")
        length = int(meta.get("CONTENT_LENGTH") or 0)
        self._framing = b"Transfer-Encoding: chunked" if coding else b"Content-Length: %d" % length if length else b""
        if length > self._service.max_body_bytes:
            raise errors.BodyTooLarge("Send fewer messages in one request.")
        if length > SMALL_BODY:
            self._reserve(reading, length)
        if "HTTP_EXPECT" in meta:
            if meta["HTTP_EXPECT"].lower() != "100-continue":
                raise errors.MalformedRequest("Expect must be 100-continue.")
            self._continue_due = bool(length or coding) and reading.version == "1.1"
        self._service.admit(reading)

    def on_body(self, part: bytes) -> None:
        reading = self._reading
        if reading is None:
            return
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._service.max_body_bytes:
            raise errors.BodyTooLarge("Send fewer messages in one request.")
        if self._size > max(reading.reserved, SMALL_BODY):
            self._reserve(reading, self._size + SMALL_BODY)

    def on_message_complete(self) -> None:
        reading = self._reading
        if reading is None or (self._framing and self._parser.should_upgrade()):  # which hides the body
            return
        self._reading = None
        self._in_body = self._continue_due = False
        parts = self._parts
        reading.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        if not reading.keep_alive:
            self._is_deaf = True
        self._waiting.append(reading)

    def _parse_without_upgrade(self) -> None:
        """Go on with a new parser, in the body of the request that asked for an upgrade, if it has one."""
        self._parser = httptools.HttpRequestParser(self)
        if self._reading is not None:
            self._is_resuming = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + self._framing + b"\r\n\r\n")
            self._is_resuming = False

    # Requests and answers

    def _advance(self) -> None:
        """Start the next request, unless one is in work or the client does not take its answers."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while self.working is None and self._waiting and not self._is_write_paused and not self._is_closing:
            item = self._waiting.popleft()
            if isinstance(item, errors.GatewayError):
                self._answer_refusal(item)
                break
            self.working = item
            self._service.handle(self, item)
        self._is_advancing = False
        if self._is_closing or self.lost:
            return
        if self.working is None and not self._waiting:
            if self._reading is None:
                if self._is_last or self._is_deaf:
                    self.close()
                    return
                self._service.idle[self] = None
            elif self._continue_due:
                self._continue_due = False
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        many = len(self._waiting) >= _MOST_WAITING or (self._is_write_paused and bool(self._waiting))
        if many != self._paused_reading:
            self._paused_reading = many
            self._touched = self._service.loop.time()
            (self.transport.pause_reading if many else self.transport.resume_reading)()

    def write(self, data: bytes) -> None:
        """Hand a part of an answer to the socket."""
        self._written += len(data)
        self.transport.write(data)

    def respond(
        self, incoming: Incoming, status: int, headers: list[tuple[str, str]], body: bytes, reason: str = ""
    ) -> None:
        """Answer the request in work. `headers` says how long the body is."""
        if self.lost:
            self.finish(keep=False)
            return
        keep = self.will_keep(incoming)
        head = wire.head(status, headers, keep_alive=keep, reason=reason)
        self.write(head if wire.has_no_body(incoming.method, status) else head + body)
        self.finish(keep=keep)

    def finish(self, *, keep: bool) -> None:
        """The request in work is answered. Unless `keep`, the connection ends."""
        self._release(self.working)
        self.working = None
        if not keep:
            self.close()
            return
        self._touched = self._service.loop.time()
        self._advance()

    def will_keep(self, incoming: Incoming) -> bool:
        """Whether the connection stays open after this request's answer."""
        ends = self._is_last and not self._waiting and self._reading is None
        return incoming.keep_alive and not ends

    def on_writable(self, callback: Callable[[], None] | None) -> bool:
        """Call this back when the client has taken what was sent or has gone. Returns whether it has so far."""
        self._writable = callback
        return not self._is_write_paused

    def _refuse(self, error: errors.GatewayError) -> None:
        """Answer with this problem once the requests before are answered, and read no more."""
        self._is_deaf = True
        self._drop_unread()
        self._waiting.append(error)

    def _answer_refusal(self, error: errors.GatewayError) -> None:
        status, headers, body = self._service.refusal(error)
        self.write(wire.head(status, headers, keep_alive=False) + body)
        self._linger()

    def _linger(self) -> None:
        """End the connection once the client has read its answer.

        A close before all input is read would destroy the answer on its way.
        """
        self._is_closing = True
        self._gone_by = self._service.loop.time() + _LINGER_SECONDS
        if self._ended or not self.transport.can_write_eof():
            self.transport.close()
            return
        if self._paused_reading:
            self._paused_reading = False
            self.transport.resume_reading()
        self.transport.write_eof()

    def close(self) -> None:
        """End the connection once everything is sent."""
        if not self._is_closing:
            self._is_closing = True
            self._service.idle.pop(self, None)
            self.transport.close()

    def stop(self) -> None:
        """The process stops: end the connection after the requests that have begun."""
        self._is_last = True
        if self.working is None and not self._waiting and self._reading is None:
            self.close()

    def abort(self) -> None:
        """Break the connection off: what was sent of the answer is not whole."""
        self._is_closing = True
        self._service.idle.pop(self, None)
        self.transport.abort()

    def check(self, now: float) -> None:
        """End what takes too long."""
        if self._gone_by is not None and now > self._gone_by:
            self.abort()
            return
        unsent = self.transport.get_write_buffer_size()
        sent = self._written - unsent
        if not unsent:
            self._sent = None
        elif self._sent is None or sent - self._sent[1] > _HIGH_WATER // 2:
            self._sent = now, sent
        elif now - self._sent[0] > _ANSWER_SECONDS:
            self.abort()
            return
        if self._is_closing:
            return
        if self._reading is not None:
            silent = now - self._touched > _SILENCE_SECONDS and not self._paused_reading
            if silent or now - self._reading.started > _REQUEST_SECONDS:
                self._refuse(errors.RequestTimeout("Send the whole request within a minute, without long pauses."))
                self._advance()
        elif self in self._service.idle and now - self._touched > self._keep_alive_seconds:
            self.close()

    def _reserve(self, reading: Incoming, size: int) -> None:
        if not self._service.reserve(size - reading.reserved):
            raise errors.Overloaded("Too many large requests arrive at this moment. Try again shortly.")
        reading.reserved = size

    def _release(self, incoming: Incoming | errors.GatewayError | None) -> None:
        if isinstance(incoming, Incoming) and incoming.reserved:
            self._service.reserve(-incoming.reserved)
            incoming.reserved = 0

    def _drop_unread(self) -> None:
        """Forget the request that is being read."""
        self._release(self._reading)
        self._reading = None
        self._parts = []
