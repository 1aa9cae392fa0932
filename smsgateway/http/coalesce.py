"""Gathers the questions of requests that arrive while an answer is on its way, so that one transaction serves them.

The group clocks itself: there is no timer. A question that comes while nothing is asked goes at once, alone. Those that
come meanwhile go together as soon as the answer is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

from smsgateway import event_loop

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Together = Callable[[Sequence[Asked]], Sequence[Answer | Exception]]

# At most this many are stored by one transaction, which holds its locks until all of them are on disk.
MOST: Final = 64


class Group(Generic[Asked, Answer]):
    """Questions of one kind. A thread of its own, which has its own database connection, answers them."""

    def __init__(self, answer_together: Together[Asked, Answer], *, name: str, most: int = MOST) -> None:
        """`answer_together` gets questions and returns for each, in order, its answer or an exception."""
        self.answer_together = answer_together
        self._name = name
        self._most = most
        self._waiting: deque[tuple[Asked, event_loop.Call]] = deque()
        self._is_asking = False
        self._thread: ThreadPoolExecutor | None = None

    def ask(self, asked: Asked) -> Answer:
        """The answer, computed together with that of other calls on the loop; elsewhere at once, in this thread.

        Raises the exception that is its answer.
        """
        call = event_loop.current()
        if call is None:
            (answer,) = self.answer_together([asked])
        else:
            self._waiting.append((asked, call))
            if not self._is_asking:
                self._is_asking = True
                # Requests that the loop finds at the same moment are read before its next round.
                asyncio.get_running_loop().call_soon(self._ask_next)
            answer = event_loop.pause()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ask_next(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        if not taken:
            self._is_asking = False
            return
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        asking = self._thread.submit(
            event_loop.using_database, answers, self.answer_together, [asked for asked, _ in taken]
        )
        asking.add_done_callback(lambda done: loop.call_soon_threadsafe(self._answered, taken, done))

    def _answered(self, taken: Sequence[tuple[Asked, event_loop.Call]], done: Future[Sequence[Any]]) -> None:
        self._ask_next()  # before the calls go on, so that the database works meanwhile
        for (_, call), answer in zip(taken, done.result(), strict=True):
            event_loop.resume(call, answer)


def answers(answer_together: Together[Asked, Answer], asked: Sequence[Asked]) -> Sequence[Answer | Exception]:
    """The answer to each question. If answering fails, that is the answer to all of them."""
    try:
        return answer_together(asked)
    except Exception as error:  # each call reports it to its own caller
        return [error] * len(asked)
