"""Stops a consumer that can use none of its events, before it moves a whole topic to the dead letters.

A wrong version, or a topic of somebody else, makes every event unusable. Single unusable events among others do not:
any usable event starts the count again.
"""

from __future__ import annotations

import structlog

from smsgateway.metrics import DEAD_LETTER_LIMIT_REACHED

log = structlog.get_logger(__name__)


class TooManyDeadLetters(Exception):
    """The batch would bring more dead letters in a row than KAFKA_DEAD_LETTER_LIMIT allows"""


class DeadLetterLimit:
    """Counts the dead letters of a process since its last usable event. `limit`: how many are allowed; 0: any number.

    For each batch call `check` before its dead letters are published, and `count` afterwards.
    """

    def __init__(self, *, process: str, limit: int) -> None:
        self._process = process
        self._limit = limit
        self._in_a_row = 0
        self._is_reached = False
        self._reached = DEAD_LETTER_LIMIT_REACHED.labels(process)
        self._reached.set(0)

    def check(self, *, events: int, unusable: int, reason: str) -> None:
        """Raises TooManyDeadLetters if no event of the batch is usable, and the limit would be passed with it.

        The batch may be checked again later, when it may be usable: `write` is called again while the consumer stops.
        """
        if not self._limit or unusable < events or self._in_a_row + unusable <= self._limit:
            return
        if not self._is_reached:
            log.error("dead_letter_limit_reached", process=self._process, limit=self._limit, reason=reason)
        self._is_reached = True
        self._reached.set(1)
        raise TooManyDeadLetters(f"more than {self._limit} dead letters in a row, the last one for: {reason}")

    def count(self, *, events: int, unusable: int) -> None:
        """The batch is written, and its dead letters are published."""
        self._in_a_row = self._in_a_row + unusable if unusable == events else 0
        if self._is_reached:
            log.info("dead_letter_limit_cleared", process=self._process)
        self._is_reached = False
        self._reached.set(0)
