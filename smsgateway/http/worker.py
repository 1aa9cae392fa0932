"""A gunicorn worker that handles single sends and receipts directly in its polling thread."""

from __future__ import annotations

import contextlib
import http
import re
import socket
import struct
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from time import monotonic
from typing import Any, Final

from gunicorn import util
from gunicorn.http import errors as refused
from gunicorn.http import wsgi
from gunicorn.http.errors import (
    ConfigurationProblem,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
)
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from smsgateway import errors, ids, json
from smsgateway.http import coalesce, problems
from smsgateway.metrics import HTTP_PROBLEMS

# Requests that end in one short transaction: a single send, an operator's receipt.
_SHORT: Final = (b"POST /v1/sms/send ", b"POST /v1/operators/")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,5})[ \t]*\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"
_LONGEST: Final = 4096
# At most this many are stored by one transaction, which holds its locks until all of them are on disk.
_TOGETHER: Final = 64
# A client that falls silent in the middle of its request keeps its thread no longer, ...
_SILENCE_SECONDS: Final = 10
# ... nor does one that sends it in drops, or that takes nothing of its answer.
_REQUEST_SECONDS: Final = 60
_TIMEOUTS: Final = {socket.SO_RCVTIMEO: _SILENCE_SECONDS, socket.SO_SNDTIMEO: _REQUEST_SECONDS}


class _Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, whether its next request is short (see _SHORT) and has arrived completely, and by when it must be
    read."""

    is_short = False
    read_by = 0.0

    def init(self) -> None:
        if not self.initialized:
            super().init()
            self.parser.unreader = _Unreader(self)


class _Unreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads a connection. A client that sends too slowly is treated like one that has gone."""

    def __init__(self, conn: _Connection) -> None:
        super().__init__(conn.sock)
        self._conn = conn

    def chunk(self, size_hint: int | None = None) -> bytes:
        if monotonic() > self._conn.read_by:
            raise NoMoreData
        try:
            data: bytes = super().chunk(size_hint)
        except BlockingIOError:  # nothing came for _SILENCE_SECONDS
            raise NoMoreData from None
        return data


class _Answer(wsgi.Response):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's response, but headers and a body of known length are sent with one system call."""

    def write(self, body: bytes) -> None:
        if self.headers_sent or self.response_length != len(body) or self._omits_body:  # type: ignore[has-type]
            super().write(body)
            return
        head = self.default_headers()
        head += [f"{name}: {value}\r\n" for name, value in self.headers]
        self.headers_sent = True
        self.sent = len(body)
        self.sock.sendall("".join([*head, "\r\n"]).encode("latin-1") + body)


class SendWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's thread worker, but single sends and receipts that have arrived completely are handled at once.

    Handing a request to a thread and back costs as much as all of Django. A send takes a millisecond and waits at most
    for its account's lock, a receipt for its message's other parts, so they may run in the polling thread. All other
    requests go to the threads: batches, reads, and requests that arrive in pieces, so a slow client delays nobody.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._short: list[Any] = []

    def accept(self, listener: Any) -> None:
        """Let a new connection wait for its first bytes in the poller, not in a thread."""
        try:
            client, address = listener.accept()
        except OSError:  # another process was faster, or the client disconnected
            return
        self.nr_conns += 1
        client.setblocking(False)
        for option, seconds in _TIMEOUTS.items():
            client.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
        conn = _Connection(self.cfg, client, address, listener.getsockname())
        conn.timeout = monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(client, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: Any) -> None:
        conn.is_short = _is_short(conn)
        if conn.is_short:
            self._short.append(conn)
        else:
            super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        conn.read_by = monotonic() + _REQUEST_SECONDS
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Returns whether the connection can be used again. Handles short requests like gunicorn, without hooks."""
        if not conn.is_short:
            kept: bool = super().handle_request(req, conn)
            return kept
        answer, environ = wsgi.create(req, conn.sock, conn.client, conn.server, self.cfg, response_class=_Answer)
        environ["wsgi.multithread"] = True
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        if not self.alive or not self.cfg.keepalive or len(self.keepalived_conns) >= self.max_keepalived:
            answer.force_close()
        response = self.wsgi(environ, answer.start_response)
        try:
            answer.write(b"".join(response))
            answer.close()
        finally:
            response.close()
        return not answer.should_close()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Return a problem document for requests that gunicorn refuses; gunicorn itself would return HTML."""
        if not isinstance(exc, ParseException) or isinstance(exc, ConfigurationProblem):  # ours, not the caller's
            super().handle_error(req, client, addr, exc)
            return
        error = _refusal(exc)
        request_id = ids.to_text(ids.new_id())
        self.log.warning("Refused (%s, request id %s): %s", error.code, request_id, exc)
        HTTP_PROBLEMS.labels(error.code).inc()
        body = json.encode(problems.document(error, request_id=request_id))
        head = (
            f"HTTP/1.1 {error.status} {http.HTTPStatus(error.status).phrase}\r\nConnection: close\r\n"
            f"Content-Type: {problems.CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
            f"X-Request-ID: {request_id}\r\n\r\n"
        )
        with contextlib.suppress(OSError):  # the client disconnected
            util.write_nonblock(client, head.encode() + body)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Handle the requests that arrived; the short ones together, so that one transaction can store them."""
        super().wait_for_and_dispatch_events(timeout)
        while self._short:
            short, self._short = self._short[:_TOGETHER], self._short[_TOGETHER:]
            coalesce.run([partial(self._answer, conn) for conn in short])

    def _answer(self, conn: Any) -> None:
        handled: Future[Any] = Future()
        handled.set_result(self.handle(conn))
        self.finish_request(conn, handled)

    def _cap_keepalive(self, deadline: float) -> None:
        """At a stop, close connections that never sent anything like those that are kept alive."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)


_REFUSALS: Final[dict[type[ParseException], str]] = {
    refused.InvalidRequestLine: "The request line is not valid.",
    refused.InvalidRequestMethod: "The method is not valid.",
    refused.InvalidHTTPVersion: "Use HTTP/1.1.",
    refused.InvalidHeader: "A header is not valid, or contradicts another.",
    refused.InvalidHeaderName: "The name of a header is not valid.",
    refused.ObsoleteFolding: "A header must not continue on the next line.",
    refused.ExpectationFailed: "Expect must be 100-continue.",
    refused.UnsupportedTransferCoding: "Transfer-Encoding must be chunked.",
}


def _refusal(exc: ParseException) -> errors.GatewayError:
    if isinstance(exc, LimitRequestLine):
        return errors.UriTooLong("Send fewer or shorter parameters.")
    if isinstance(exc, LimitRequestHeaders):
        return errors.HeadersTooLarge("Send fewer or shorter headers.")
    reason = _REFUSALS.get(type(exc), "The request is not valid HTTP/1.1.")
    if isinstance(exc, refused.InvalidHeader) and exc.hdr in ("CONTENT-LENGTH", "TRANSFER-ENCODING"):
        reason = "Send one Content-Length, or Transfer-Encoding: chunked, and never both."
    return errors.MalformedRequest(reason)


def _is_short(conn: Any) -> bool:
    """Whether the socket holds a complete short request."""
    if conn.initialized and (conn.is_http2 or conn.parser.unreader.buf.getvalue()):
        return False
    try:
        found: bytes = conn.sock.recv(_LONGEST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False
    if not found.startswith(_SHORT):
        return False
    end = found.find(_END)
    length = _LENGTH.search(found, 0, end + 2)
    return end > 0 and length is not None and len(found) >= end + len(_END) + int(length[1])
