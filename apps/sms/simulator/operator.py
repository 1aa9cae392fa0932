"""One simulated operator, of any protocol: decides what happens to submits, and remembers them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from apps.sms.simulator import behaviour as decide
from apps.sms.simulator.behaviour import TAKEN, Behaviour, Dice, Outcome, Receipts
from apps.sms.simulator.dialects import Submit
from apps.sms.simulator.memory import Memory, Record


class Character(NamedTuple):
    """How an operator behaves at the start, and its dice."""

    behaviour: Behaviour
    dice: Dice
    magic_numbers: bool


class Pace:
    """A token bucket of one second's submits."""

    def __init__(self) -> None:
        self._tokens: float | None = None
        self._at = time.monotonic()

    def allows(self, per_second: int) -> bool:
        """Take a token if there is one; 0 a second means no limit."""
        if not per_second:
            return True
        now = time.monotonic()
        full = float(per_second)
        self._tokens = full if self._tokens is None else min(full, self._tokens + (now - self._at) * full)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Decision(NamedTuple):
    """What happens to a submit. `number`: the operator's id as a number; 0 unless the operator has the message."""

    outcome: Outcome
    number: int
    receipts: Receipts
    attempt: int


class SimulatedOperator(ABC):
    """One operator. `run` it before the first submit."""

    def __init__(self, name: str, character: Character) -> None:
        self.name = name
        self._character = character
        self._dice = character.dice
        self._forget()

    def _forget(self) -> None:
        self.behaviour = self._character.behaviour
        self.memory = Memory()
        self._pace = Pace()

    @abstractmethod
    def run(self) -> AbstractAsyncContextManager[None]:
        """Send receipts while the body runs."""

    @abstractmethod
    async def reset(self) -> None:
        """Forget messages, counts and receipts to send, and behave as at the start."""

    @abstractmethod
    def summary(self) -> dict[str, int]: ...

    @abstractmethod
    def _id_of(self, number: int) -> str:
        """The operator's id, as in the answer to a submit."""

    def _decide(self, submit: Submit) -> Decision:
        """Decide what happens to a submit, and remember it."""
        attempt = self.memory.tries(submit.reference) + 1
        outcome, receipts = self._outcome(submit, attempt)
        number = self._dice.number(self.name, submit.reference, attempt) if outcome in TAKEN else 0
        self.memory.add(
            Record(
                operator=self.name,
                reference=submit.reference,
                operator_message_id=self._id_of(number) if outcome in TAKEN else "",
                recipient=submit.recipient,
                sender=submit.sender,
                text=submit.text,
                outcome=outcome,
                attempt=attempt,
                at=time.time_ns() // 1_000_000,
            )
        )
        return Decision(outcome, number, receipts, attempt)

    def _answer_seconds(self, submit: Submit, decision: Decision) -> float:
        return self._dice.seconds(self.behaviour.answer_delay, "answer_delay", submit.reference, decision.attempt)

    def _receipt_seconds(self, submit: Submit, decision: Decision) -> list[float]:
        """The seconds from now to each copy of the receipt."""
        if decision.receipts.early:
            return [0.0] * decision.receipts.copies
        return [
            self._dice.seconds(self.behaviour.receipt_delay, f"receipt_delay{copy}", submit.reference, decision.attempt)
            for copy in range(decision.receipts.copies)
        ]

    def _outcome(self, submit: Submit, attempt: int) -> tuple[Outcome, Receipts]:
        if self._character.magic_numbers and (scripted := decide.magic(submit.recipient, attempt)):
            return scripted
        receipts = decide.receipts(self.behaviour, self._dice, submit.reference)
        if not self._pace.allows(self.behaviour.max_per_second):
            return "throttled", receipts
        return decide.outcome(self.behaviour, self._dice, submit.reference, attempt), receipts
