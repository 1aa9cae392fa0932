"""Calls that run side by side in one thread, so that what they ask for can be done for all of them at once.

Each call runs in a greenlet, a stack of its own: first to the point where it asks, and on from there when the answer is
known. Code in between needs to know nothing of it, and no call waits for one that has not come yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Together = Callable[[Sequence[Asked]], Sequence[Answer | Exception]]


class _Call(greenlet):  # type: ignore[misc]  # greenlet has no types
    """A call that may be halted where it asks."""

    asks: tuple[Together[Any, Any], Any]


def run(calls: Sequence[Callable[[], None]]) -> None:
    """Run the calls until all have ended, in this order between one question and the next.

    Calls share the thread, and so its database connection: they must not ask within a transaction.
    """
    if len(calls) == 1:  # there is nobody to wait for
        calls[0]()
        return
    asking = []
    for call in calls:
        started = _Call(call)
        started.switch()
        asking.append(started)
    while asking := [call for call in asking if not call.dead]:
        answer_together = asking[0].asks[0]
        of_one_kind = [call for call in asking if call.asks[0] == answer_together]
        for call, answer in zip(of_one_kind, _answers(answer_together, of_one_kind), strict=True):
            call.switch(answer)


def ask(answer_together: Together[Asked, Answer], asked: Asked) -> Answer:
    """The answer to what is asked, found together with what other calls of the same `run` ask of the same function.

    `answer_together` gives for each, in order, its answer or the exception to be raised here. Outside of `run` it is
    called for this one alone.
    """
    current = getcurrent()
    if isinstance(current, _Call):
        current.asks = (answer_together, asked)
        answer = current.parent.switch()
    else:
        (answer,) = answer_together([asked])
    if isinstance(answer, Exception):
        raise answer
    return cast(Answer, answer)


def _answers(answer_together: Together[Any, Any], calls: Sequence[_Call]) -> Sequence[Any]:
    try:
        return answer_together([call.asks[1] for call in calls])
    except Exception as error:  # each call tells its own caller
        return [error] * len(calls)
