"""Runs the requests of all connections of a process: on the loop, or in pools of threads."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple

import structlog

from smsgateway import errors, event_loop, ids, json
from smsgateway.http import admission, pools, problems
from smsgateway.http.server import direct, wire
from smsgateway.http.server.connection import Connection
from smsgateway.http.server.incoming import Incoming
from smsgateway.metrics import HTTP_CONNECTIONS, HTTP_CONNECTIONS_REFUSED, HTTP_PROBLEMS

log = structlog.get_logger(__name__)

# All bodies above SMALL_BODY that a process holds at one moment.
_LARGE_BODIES: Final = 134_217_728
# A thread that writes an answer waits no longer for a client that does not take it.
_STALLED_SECONDS: Final = 120.0
# How often the loop's lag is measured.
_LAG_SECONDS: Final = 0.1


class Limits(NamedTuple):
    """What the process accepts. `connections_per_address`: 0 for no limit.

    `proxies`: addresses whose X-Forwarded-Proto is believed; * for all.
    """

    max_body_bytes: int = 5_242_880
    connections: int = 4096
    connections_per_address: int = 0
    keep_alive_seconds: float = 75.0
    max_wait_seconds: float = 2.0
    proxies: frozenset[str] = frozenset(("127.0.0.1", "::1"))


class Service:
    """The connections of a process and what they have in common. Its methods run on the loop's thread."""

    def __init__(
        self,
        application: Callable[..., Any],
        *,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        threads: pools.Pools,
        environ: dict[str, Any],
        runs_on_loop: bool,
    ) -> None:
        """`application`: WSGI. `environ`: what all requests have in common. `runs_on_loop`: call the views directly
        that may run there."""
        self.loop = loop
        self.max_body_bytes = limits.max_body_bytes
        self.connections: set[Connection] = set()
        # Those that wait for a request, the longest first.
        self.idle: dict[Connection, None] = {}
        self._application = application
        self._limits = limits
        self._pools = threads
        self._environ = environ
        self._runs_on_loop = runs_on_loop
        self._by_address: Counter[str] = Counter()
        self._large_bodies = 0
        self._admission = admission.Admission(max_wait=limits.max_wait_seconds)
        self._lag = 0.0
        self._measure_lag(loop.time())
        self.stopping = False

    # Connections

    def connect(self) -> Connection:
        """A new connection's protocol."""
        return Connection(self, self._limits.keep_alive_seconds)

    def may_open(self, address: str) -> bool:
        """Whether a client may connect. The longest idle connection makes room if there are too many."""
        most = self._limits.connections_per_address
        if most and self._by_address[address] >= most:
            HTTP_CONNECTIONS_REFUSED.labels("address").inc()
            return False
        if len(self.connections) >= self._limits.connections:
            if not self.idle:
                HTTP_CONNECTIONS_REFUSED.labels("process").inc()
                return False
            next(iter(self.idle)).abort()
        return True

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        self.idle[connection] = None
        self._by_address[connection.address] += 1
        HTTP_CONNECTIONS.inc()
        if self.stopping:
            connection.stop()

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.idle.pop(connection, None)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]
        HTTP_CONNECTIONS.dec()

    def base_environ(self, transport: asyncio.BaseTransport) -> dict[str, Any]:
        """What all requests of a connection have in common."""
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        found = dict(self._environ)
        if isinstance(peer, tuple):
            found |= {"REMOTE_ADDR": peer[0], "REMOTE_PORT": str(peer[1])}
        if isinstance(own, tuple):
            found |= {"SERVER_NAME": own[0], "SERVER_PORT": str(own[1])}
        return found

    def trusts(self, address: str) -> bool:
        """Whether X-Forwarded-Proto from this address is believed."""
        return address in self._limits.proxies or "*" in self._limits.proxies

    def reserve(self, size: int) -> bool:
        """Take so many bytes (or give them back) from the budget for large bodies. False if they do not fit."""
        if size > 0 and self._large_bodies + size > max(_LARGE_BODIES, self.max_body_bytes):
            return False
        self._large_bodies += size
        return True

    def check(self) -> None:
        """End what takes too long; call it every second."""
        now = self.loop.time()
        for connection in tuple(self.connections):
            connection.check(now)

    def stop(self) -> None:
        """Let every connection end once the requests that have begun are answered."""
        self.stopping = True
        for connection in tuple(self.connections):
            connection.stop()

    # Requests

    def admit(self, reading: Incoming) -> None:
        """Raises an error of `smsgateway.errors` if the request is refused before its body is read."""
        if admission.kind_of(reading.method, reading.path) is admission.Kind.BATCH:  # other bodies are small
            self._require_room(reading, self._pools.choose(method=reading.method, path=reading.path))

    def handle(self, connection: Connection, incoming: Incoming) -> None:
        """Answer a request, now or later."""
        route = direct.route_of(incoming) if self._runs_on_loop else None
        pool = None if route else self._pools.choose(method=incoming.method, path=incoming.path)
        try:
            self._require_room(incoming, pool)
        except errors.Overloaded as error:
            connection.respond(incoming, *self.refusal(error))
            return
        if route is not None:
            event_loop.start(partial(self._call, connection, incoming, route))
        elif pool is not None:
            pool.submit(self._run, connection, incoming)

    def _require_room(self, incoming: Incoming, pool: pools.Pool | None) -> None:
        """Raises Overloaded if a request would wait too long. `pool`: None if it runs on the loop."""
        kind = admission.kind_of(incoming.method, incoming.path)
        if pool is None:
            wait = max(self._lag, self._admission.wait(admission.oldest_on_loop(kind)))
        else:
            wait = self._admission.wait(pool.oldest)
            if pool.is_full:
                self._admission.refuse(kind, wait)
        if not self._admission.is_calm(wait):
            self._admission.check(admission.kind_of(incoming.method, incoming.path, incoming.body), wait)

    def _measure_lag(self, due: float) -> None:
        """Measure how late the loop comes to what is due: as long as a request waits for its turn."""
        now = self.loop.time()
        self._lag = max(0.0, now - due)
        self.loop.call_at(now + _LAG_SECONDS, self._measure_lag, now + _LAG_SECONDS)

    def refusal(self, error: errors.GatewayError) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of the problem document for a request that no view sees."""
        request_id = ids.to_text(ids.new_id())
        if not isinstance(error, errors.Overloaded):  # which are logged together
            log.warning("request_refused", code=error.code, request_id=request_id, reason=error.detail)
        HTTP_PROBLEMS.labels(error.code).inc()
        body = json.encode(problems.document(error, request_id=request_id))
        headers = [
            ("Content-Type", problems.CONTENT_TYPE),
            ("Content-Length", str(len(body))),
            ("X-Request-ID", request_id),
            *error.headers.items(),
        ]
        return error.status, headers, body

    def _call(self, connection: Connection, incoming: Incoming, route: direct.Route) -> None:
        """In a greenlet: answer by a view."""
        try:
            response = direct.answer(incoming, route)
        except Exception:
            log.exception("unexpected_error")
            connection.respond(incoming, *self.refusal(errors.GatewayError("An unexpected error occurred.")))
            return
        connection.respond(incoming, response.status_code, [*response.items()], response.content)

    def _run(self, connection: Connection, incoming: Incoming) -> None:
        """In a thread: answer by the WSGI application."""
        answer = _Answer(self.loop, connection, incoming)
        try:
            response = self._application(incoming.environ(), answer.start)
            try:
                answer.send(response)
            finally:
                if hasattr(response, "close"):
                    response.close()
        except _ClientGone:
            answer.break_off()
        except Exception:
            log.exception("unexpected_error", path=incoming.path)
            answer.break_off()


class _ClientGone(Exception):
    """The client does not take its answer any more"""


class _Answer:
    """An answer that a thread gives. Its parts wait until the client has taken those before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Connection, incoming: Incoming) -> None:
        self._loop = loop
        self._connection = connection
        self._incoming = incoming
        self._status = 0
        self._reason = ""
        self._headers: list[tuple[str, str]] = []
        self._ready = threading.Event()
        self._ready.set()

    def start(self, status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        """WSGI's start_response."""
        code, _, self._reason = status.partition(" ")
        self._status = int(code)
        self._headers = headers

    def send(self, response: Iterable[bytes]) -> None:
        """Send the whole response; a part at a time if the application streams it."""
        if getattr(response, "streaming", not isinstance(response, (list, tuple))):
            self._stream(response)
            return
        body = b"".join(response)
        if not self._length_is_known() and not wire.has_no_body("", self._status):
            self._headers = [*self._headers, ("Content-Length", str(len(body)))]
        self._soon(self._connection.respond, self._incoming, self._status, self._headers, body, self._reason)

    def break_off(self) -> None:
        """Cut the connection, so that the client notices that its answer is not whole."""
        self._soon(self._cut)

    def _cut(self) -> None:
        self._connection.on_writable(None)
        self._connection.abort()
        self._connection.finish(keep=False)

    def _length_is_known(self) -> bool:
        return any(name.lower() == "content-length" for name, _ in self._headers)

    def _stream(self, parts: Iterable[bytes]) -> None:
        incoming, chunked = self._incoming, False
        keep = self._connection.will_keep(incoming)
        more = ""
        if not self._length_is_known() and not wire.has_no_body("", self._status):
            chunked = incoming.version == "1.1"
            keep = keep and chunked
            more = "Transfer-Encoding: chunked\r\n" if chunked else ""
        self._part(wire.head(self._status, self._headers, keep_alive=keep, more=more, reason=self._reason))
        if not wire.has_no_body(incoming.method, self._status):
            for part in parts:
                if part:
                    self._part(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            if chunked:
                self._part(b"0\r\n\r\n")
        self._soon(self._end, keep)

    def _part(self, data: bytes) -> None:
        if not self._ready.wait(_STALLED_SECONDS) or self._connection.lost:
            raise _ClientGone
        self._ready.clear()
        self._soon(self._write, data)

    def _write(self, data: bytes) -> None:
        connection = self._connection
        if not connection.lost:
            connection.write(data)
        if connection.on_writable(self._ready.set) or connection.lost:
            self._ready.set()

    def _end(self, keep: bool) -> None:
        self._connection.on_writable(None)
        self._connection.finish(keep=keep)

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(call, *arguments)
