"""Pools of threads for requests that do not run on the event loop. No kind of request takes another's threads."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog

from smsgateway.metrics import HTTP_QUEUED

log = structlog.get_logger(__name__)

HEALTH: Final = "health"
READS: Final = "reads"
WRITES: Final = "writes"
EXPORTS: Final = "exports"
ADMIN: Final = "admin"
# At most this many requests wait for each thread of a pool.
_MOST_FOR_EACH_THREAD: Final = 64
# How much the kernel prefers the event loop's thread to those of requests that may compute for long, as a nice value.
_NICE: Final = 10
_HEALTH_PATHS: Final = frozenset(("/healthz", "/readyz", "/metrics"))


class Pool:
    """Threads with a bounded queue in front of them."""

    def __init__(self, name: str, *, threads: int, nice: int = 0) -> None:
        """`nice`: the priority of its threads, below that of the process's main thread."""
        self.name = name
        self._threads = ThreadPoolExecutor(threads, name, lambda: _lower_priority(nice))
        self._most = threads * _MOST_FOR_EACH_THREAD
        self._lock = threading.Lock()
        # Since when each waits (monotonic seconds).
        self._queued: deque[float] = deque()
        self._gauge = HTTP_QUEUED.labels(name)

    @property
    def oldest(self) -> float | None:
        """Since when (monotonic seconds) the oldest request has waited for a thread; None if none waits."""
        with self._lock:
            return self._queued[0] if self._queued else None

    @property
    def is_full(self) -> bool:
        """True if so many requests wait that no further one may."""
        return len(self._queued) >= self._most

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        """Let a thread call `work`."""
        with self._lock:
            self._queued.append(time.monotonic())
            self._gauge.inc()
        self._threads.submit(self._run, work, arguments)

    def stop(self) -> None:
        """Let the threads end. Call it when nothing waits any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        with self._lock:
            self._queued.popleft()
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
        self._pools = {
            name: Pool(name, threads=size, nice=0 if name == HEALTH else _NICE) for name, size in sizes.items()
        }

    def choose(self, *, method: str, path: str) -> Pool:
        """The pool that a request runs in."""
        return self._pools[kind(method=method, path=path)]

    def stop(self) -> None:
        for pool in self._pools.values():
            pool.stop()


def _lower_priority(nice: int) -> None:
    """Lower the calling thread's. Linux has a priority for each thread; elsewhere nothing changes."""
    if nice and sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it: the request is served all the same
            os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + nice, 19))


def kind(*, method: str, path: str) -> str:
    """The kind of a request, which is the name of its pool."""
    if path in _HEALTH_PATHS:
        return HEALTH
    if path.startswith("/admin"):
        return ADMIN
    if method not in ("GET", "HEAD", "OPTIONS"):
        return WRITES
    return EXPORTS if path == "/v1/export" else READS
