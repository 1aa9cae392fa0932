"""Pools of threads for requests that do not run on the event loop. One kind of request never takes another's threads.

`admit` and `Pool.submit` are the two places where a request can be refused under load.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog

from smsgateway.errors import Overloaded
from smsgateway.metrics import HTTP_QUEUED, HTTP_SHED

log = structlog.get_logger(__name__)

HEALTH: Final = "health"
READS: Final = "reads"
WRITES: Final = "writes"
EXPORTS: Final = "exports"
ADMIN: Final = "admin"
# At most this many requests wait for each thread of a pool.
_MOST_FOR_EACH_THREAD: Final = 64
_HEALTH_PATHS: Final = frozenset(("/healthz", "/readyz", "/metrics"))


class Pool:
    """Threads with a bounded queue in front of them."""

    def __init__(self, name: str, *, threads: int) -> None:
        self.name = name
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads * _MOST_FOR_EACH_THREAD
        self._lock = threading.Lock()
        self._queued = 0
        self._gauge = HTTP_QUEUED.labels(name)

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        """Let a thread call `work`. Raises Overloaded if too many requests wait already."""
        with self._lock:
            if self._queued >= self._most:
                HTTP_SHED.labels(self.name).inc()
                raise Overloaded("Too many requests wait. Try again shortly.")
            self._queued += 1
            self._gauge.inc()
        self._threads.submit(self._run, time.monotonic(), work, arguments)

    def stop(self) -> None:
        """Let the threads end. Call it when nothing waits any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, _since: float, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        with self._lock:
            self._queued -= 1
            self._gauge.dec()
        try:
            work(*arguments)
        except Exception:
            log.exception("unexpected_error")


class Pools:
    """The pools of a process. `threads`: of each pool, except that probes and metrics have two."""

    def __init__(self, *, threads: int, exports: int) -> None:
        """`exports`: how many are written at once; one more thread refuses the next."""
        sizes = {HEALTH: 2, READS: threads, WRITES: threads, EXPORTS: exports + 1, ADMIN: threads}
        self._pools = {name: Pool(name, threads=size) for name, size in sizes.items()}

    def choose(self, *, method: str, path: str) -> Pool:
        """The pool that a request runs in."""
        return self._pools[kind(method=method, path=path)]

    def stop(self) -> None:
        for pool in self._pools.values():
            pool.stop()


def kind(*, method: str, path: str) -> str:
    """The kind of a request, which is the name of its pool."""
    if path in _HEALTH_PATHS:
        return HEALTH
    if path.startswith("/admin"):
        return ADMIN
    if method not in ("GET", "HEAD", "OPTIONS"):
        return WRITES
    return EXPORTS if path == "/v1/export" else READS


def admit(*, method: str, path: str, meta: Mapping[str, Any]) -> None:
    """Look at a request whose body was not read yet. Raises an error of `smsgateway.errors` to refuse it unread."""
