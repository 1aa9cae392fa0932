"""What every worker process has: a clean stop on SIGTERM and SIGINT, /metrics and /healthz, a log line at start and
end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
from django.conf import settings
from django.core.management.base import CommandError

from smsgateway import tracing
from smsgateway.metrics_server import MetricsServer

log = structlog.get_logger(__name__)

# A loop without a round for this long counts as hung: the health check fails, and the process is replaced.
HUNG_AFTER_SECONDS = 60.0


class Process:
    """The running process. SIGTERM and SIGINT set `stopping`; the loop calls `beat` in each round."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._on_stop: list[Callable[[], None]] = []
        self._last_beat = time.monotonic()

    def beat(self) -> None:
        """Report to the health check that the loop runs."""
        self._last_beat = time.monotonic()

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the process is asked to stop, or at once if it was. It must be quick and safe to call
        twice in a signal handler."""
        self._on_stop.append(callback)
        if self.stopping.is_set():
            callback()

    def stop(self) -> None:
        """Ask the loop to end, as SIGTERM does."""
        self.stopping.set()
        for callback in self._on_stop:
            callback()

    @property
    def healthy(self) -> bool:
        return time.monotonic() - self._last_beat < HUNG_AFTER_SECONDS


@contextmanager
def running(name: str) -> Iterator[Process]:
    """Run the body as the process `name`: signals, health and metrics server, log lines."""
    process = Process(name)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        process.stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    server = _serve_metrics(process)
    structlog.contextvars.bind_contextvars(process=name)
    try:
        tracing.start(name, settings.CONFIG.tracing)
    except tracing.TracingUnavailable as error:
        raise CommandError(str(error)) from None
    log.info("process_started", metrics_port=server.server_port)
    try:
        yield process
    except CommandError:
        raise
    except Exception:
        log.exception("process_failed")
        raise SystemExit(1) from None
    finally:
        tracing.stop()
        log.info("process_stopped")
        server.stop()
        for number, action in previous.items():
            signal.signal(number, action)


def _serve_metrics(process: Process) -> MetricsServer:
    host, port = settings.CONFIG.http.host, settings.CONFIG.general.metrics_port
    try:
        server = MetricsServer((host, port), is_healthy=lambda: process.healthy)
    except OSError as error:
        raise CommandError(
            f"{process.name}: cannot listen on {host}:{port} for metrics ({error.strerror}). "
            "Stop what uses the port or set METRICS_PORT."
        ) from None
    server.start()
    return server
