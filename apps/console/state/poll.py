"""Asks services that may be slow or away, all at once and never for long; an answer serves for some seconds.

Each process keeps the last answers. Who comes while a service is being asked waits for the same answer, and shows the
one before if it does not come in time. So a page is as fast as its deadline, and a service that hangs holds one thread.
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
    """What a service said; or why it said nothing, in words for people."""

    value: Any = None
    away: str = ""


class Away(Exception):
    """A service does not answer; the message says which and why"""


class Asking:
    """Questions by name, asked by threads."""

    def __init__(self, *, fresh_seconds: float) -> None:
        self._fresh = fresh_seconds
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._answers: dict[str, tuple[float, Answer]] = {}
        self._running: dict[str, Future[Answer]] = {}

    def ask(self, questions: Mapping[str, Callable[[], Any]], *, seconds: float) -> dict[str, Answer]:
        """The answers by name, after `seconds` at the latest. A question raises Away, or whatever: it is told."""
        running = {name: found for name, question in questions.items() if (found := self._start(name, question))}
        if running:
            wait(running.values(), timeout=seconds)
        return {name: self._known(name) for name in questions}

    def _start(self, name: str, question: Callable[[], Any]) -> Future[Answer] | None:
        with self._lock:
            asked_at, _ = self._answers.get(name, (float("-inf"), None))
            if time.monotonic() - asked_at < self._fresh:
                return None
            if name not in self._running:
                if self._threads is None:  # made here: threads do not outlive a fork
                    self._threads = ThreadPoolExecutor(_THREADS, "asking")
                self._running[name] = self._threads.submit(self._ask, name, question)
            return self._running[name]

    def _ask(self, name: str, question: Callable[[], Any]) -> Answer:
        try:
            answer = Answer(question())
        except Away as error:
            answer = Answer(away=str(error))
        except Exception:
            log.exception("asking_failed_unexpectedly", question=name)
            answer = Answer(away="It could not be read; the log says why.")
        with self._lock:
            self._answers[name] = (time.monotonic(), answer)
            self._running.pop(name, None)
        return answer

    def _known(self, name: str) -> Answer:
        with self._lock:
            _, answer = self._answers.get(name, (0.0, Answer(away="No answer in time; look again in a moment.")))
        return answer
