"""Runs several calls side by side in one thread, with its database connection, as the API's event loop does.

So a test sees what one statement does for all of them, within its own transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from greenlet import getcurrent, greenlet

from apps.sms.accept.charge_group import CHARGE_GROUP
from apps.sms.receipts.matching import RECEIPT_GROUP
from smsgateway.http import coalesce


class _Call(greenlet):
    asks: tuple[Callable[[Sequence[Any]], Sequence[Any]], Any]


def run(calls: Sequence[Callable[[], None]]) -> None:
    """Run the calls until all have ended. What they ask at the same point is answered together, in their order."""
    asking = []
    for call in calls:
        started = _Call(call)
        started.switch()
        asking.append(started)
    while asking := [call for call in asking if not call.dead]:
        answer_together = asking[0].asks[0]
        of_one_kind = [call for call in asking if call.asks[0] == answer_together]
        answers = coalesce.answers(answer_together, [call.asks[1] for call in of_one_kind])
        for call, answer in zip(of_one_kind, answers, strict=True):
            call.switch(answer)


def _asker(group: Any) -> Callable[[Any], Any]:
    ask_alone = group.ask

    def ask(asked: Any) -> Any:
        current = getcurrent()
        if not isinstance(current, _Call):
            return ask_alone(asked)
        current.asks = (group.answer_together, asked)
        answer = current.parent.switch()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


for _group in (CHARGE_GROUP, RECEIPT_GROUP):
    _group.__dict__["ask"] = _asker(_group)
