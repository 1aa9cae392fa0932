"""Polls services that may be slow or down, in parallel and with a deadline, and caches the answers for some seconds.

Each process keeps the last answers. Requests that come while a service is polled wait for the same answer, and get the
previous one if it does not arrive in time. So a page never takes longer than its deadline, and a service that hangs
holds one thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final, NamedTuple

import structlog

log = structlog.get_logger(__name__)

_THREADS: Final = 8


class Answer(NamedTuple):
    """What a service answered, or the reason why it did not, as text for people."""

    value: Any = None
    error: str = ""


class Unavailable(Exception):
    """A service does not answer; the message says which and why"""


class Poller:
    """Runs named questions in threads."""

    def __init__(self, *, fresh_seconds: float) -> None:
        self._fresh = fresh_seconds
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._answers: dict[str, tuple[float, Answer]] = {}
        self._running: dict[str, Future[Answer]] = {}

    def poll(self, questions: Mapping[str, Callable[[], Any]], *, seconds: float) -> dict[str, Answer]:
        """The answers by name, after `seconds` at the latest. An exception of a question becomes its answer's error."""
        running = {name: found for name, question in questions.items() if (found := self._start(name, question))}
        if running:
            wait(running.values(), timeout=seconds)
        return {name: self._known(name) for name in questions}

    def _start(self, name: str, question: Callable[[], Any]) -> Future[Answer] | None:
        with self._lock:
            answered_at, _ = self._answers.get(name, (float("-inf"), None))
            if time.monotonic() - answered_at < self._fresh:
                return None
            if name not in self._running:
                if self._threads is None:  # made here, because threads do not survive a fork
                    self._threads = ThreadPoolExecutor(_THREADS, "poll")
                self._running[name] = self._threads.submit(self._run, name, question)
            return self._running[name]

    def _run(self, name: str, question: Callable[[], Any]) -> Answer:
        try:
            answer = Answer(question())
        except Unavailable as error:
            answer = Answer(error=str(error))
        except Exception:
            log.exception("poll_failed_unexpectedly", question=name)
            answer = Answer(error="Could not be read; see the log.")
        with self._lock:
            self._answers[name] = (time.monotonic(), answer)
            self._running.pop(name, None)
        return answer

    def _known(self, name: str) -> Answer:
        with self._lock:
            _, answer = self._answers.get(name, (0.0, Answer(error="No answer in time. Reload in a moment.")))
        return answer
