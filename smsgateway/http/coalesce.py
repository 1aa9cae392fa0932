"""Runs several calls side by side in one thread, so that one SQL statement can serve all of them.

Each call runs in a greenlet, which has its own stack. It runs until it asks for something with `ask`, pauses there, and
continues with the answer. Code in between is not aware of this. A call never waits for one that has not arrived yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Together = Callable[[Sequence[Asked]], Sequence[Answer | Exception]]


class _Call(greenlet):  # type: ignore[misc]  # greenlet has no types
    """A call that pauses where it asks."""

    asks: tuple[Together[Any, Any], Any]


def run(calls: Sequence[Callable[[], None]]) -> None:
    """Run the calls until all have ended; between two questions they run in this order.

    The calls share the thread and its database connection, so they must not ask inside a transaction.
    """
    if len(calls) == 1:  # no other call to share a statement with
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
    """Return the answer to `asked`, computed together with what other calls of this `run` ask of the same function.

    `answer_together` gets the questions of all calls, and returns for each, in order, its answer or an exception, which
    is raised here. Outside of `run` it gets this question only.
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
    except Exception as error:  # each call reports it to its own caller
        return [error] * len(calls)
