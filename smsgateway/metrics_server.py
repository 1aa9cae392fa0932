"""The HTTP server of a worker process, for /metrics and /healthz. No client can block it.

Each connection has a thread, a timeout for each read, and a deadline. At most CONNECTIONS are open: one more closes the
oldest, which must be a silent client, because a response takes milliseconds.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
import wsgiref.simple_server
from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

CONNECTIONS: Final = 16
READ_SECONDS: Final = 5.0
DEADLINE_SECONDS: Final = 15.0

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class MetricsServer(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """Call `start`, and `stop` at the end."""

    daemon_threads = True
    block_on_close = False  # a silent client must not delay the end of the process
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        *,
        is_healthy: Callable[[], bool],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Start to listen. `registry`: the metrics. Raises OSError."""
        self._open: dict[socket.socket, float] = {}  # the time it was opened, oldest first
        self._lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        self.set_app(_application(is_healthy, registry))

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, daemon=True, name="metrics").start()

    def stop(self) -> None:
        """Stop serving and close the port."""
        self.shutdown()
        self.server_close()

    def server_bind(self) -> None:
        # Not HTTPServer's method: it looks up our name in DNS, which may take a minute.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            while len(self._open) >= CONNECTIONS:
                _hang_up(self._open_first())
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close connections that exceeded their deadline. Called twice a second."""
        now = time.monotonic()
        with self._lock:
            for request in [one for one, since in self._open.items() if now - since >= DEADLINE_SECONDS]:
                del self._open[request]
                _hang_up(request)

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Clients that disconnect are not logged."""

    def _open_first(self) -> socket.socket:
        request = next(iter(self._open))
        del self._open[request]
        return request


class _Handler(wsgiref.simple_server.WSGIRequestHandler):
    timeout = READ_SECONDS

    def log_message(self, *_arguments: Any) -> None:
        """Scrapes are not logged."""


def _hang_up(request: socket.socket) -> None:
    """End the stream; the connection's thread then closes it."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _application(is_healthy: Callable[[], bool], registry: CollectorRegistry) -> Wsgi:
    metrics = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/healthz":
            healthy = is_healthy()
            start_response("200 OK" if healthy else "503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"ok\n" if healthy else b"the loop hangs\n"]
        answer: Iterable[bytes] = metrics(environ, start_response)
        return answer

    return application
