"""The submits that a simulated operator has received."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from apps.sms.simulator.behaviour import TAKEN, Outcome


class Record(msgspec.Struct, frozen=True, kw_only=True, rename={"attempt": "try"}):
    """One submit and its outcome. `operator_message_id` is empty unless accepted; `at` is in milliseconds."""

    operator: str
    reference: str
    operator_message_id: str
    recipient: str
    sender: str
    text: str
    outcome: Outcome
    attempt: int
    at: int


class Memory:
    """Every submit to one operator, by reference."""

    def __init__(self) -> None:
        self._records: dict[str, list[Record]] = {}
        self._accepted: Counter[str] = Counter()
        self._outcomes: Counter[Outcome] = Counter()
        self._duplicates = 0

    def tries(self, reference: str) -> int:
        """How often this reference was submitted."""
        return len(self._records.get(reference, ()))

    def add(self, record: Record) -> None:
        self._records.setdefault(record.reference, []).append(record)
        self._outcomes[record.outcome] += 1
        if record.outcome in TAKEN:
            self._accepted[record.reference] += 1
            self._duplicates += self._accepted[record.reference] == 2

    def records(self, reference: str | None) -> Iterator[Record]:
        """The submits of one reference, or of all."""
        chosen = self._records.values() if reference is None else [self._records.get(reference, [])]
        for records in chosen:
            yield from records

    def summary(self) -> dict[str, int]:
        """Counts. `accepted` includes `hung` and `unanswered`; `duplicates`: references accepted more than once."""
        return {
            "submits": self._outcomes.total(),
            "accepted": self._accepted.total(),
            "distinct_references_accepted": len(self._accepted),
            "duplicates": self._duplicates,
            "hung": self._outcomes["hung"],
            "unanswered": self._outcomes["unanswered"],
            "rejected": self._outcomes["rejected"],
            "transient": self._outcomes["transient"],
            "throttled": self._outcomes["throttled"],
        }
