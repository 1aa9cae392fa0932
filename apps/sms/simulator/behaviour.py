"""How a simulated operator behaves, and what that means for one message: decided by hashes, so it can be repeated."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

Outcome = Literal["accepted", "hung", "unanswered", "rejected", "transient", "throttled"]
# The operator has the message.
TAKEN: Final = frozenset({"accepted", "hung", "unanswered"})

_Rate = Annotated[float, Meta(ge=0, le=1)]
_Milliseconds = Annotated[int, Meta(ge=0, le=3_600_000)]
_Span = tuple[_Milliseconds, _Milliseconds]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator does with messages to recipients that are not magic. Rates: 0 to 1. Delays: (least, most)."""

    answer_delay: Annotated[_Span, Meta(description="Milliseconds before an answer.")] = (0, 0)
    transient_rate: Annotated[_Rate, Meta(description="Share of tries that meet a transient error.")] = 0.0
    rejection_rate: Annotated[_Rate, Meta(description="Share of messages rejected for good.")] = 0.0
    hang_rate: Annotated[
        _Rate, Meta(description="Share of tries accepted, but the connection closes without an answer.")
    ] = 0.0
    unanswered_rate: Annotated[
        _Rate, Meta(description="Share of tries accepted, but never answered on a connection that stays open.")
    ] = 0.0
    max_per_second: Annotated[int, Meta(ge=0, description="Submits a second before throttling; 0 never throttles.")] = 0
    undelivered_rate: Annotated[_Rate, Meta(description="Share of accepted messages not delivered.")] = 0.0
    receipt_delay: Annotated[_Span, Meta(description="Milliseconds from taking a message to its delivery receipt.")] = (
        100,
        1000,
    )
    no_receipt_rate: Annotated[_Rate, Meta(description="Share of messages without a receipt.")] = 0.0
    duplicate_receipt_rate: Annotated[_Rate, Meta(description="Share of receipts sent twice.")] = 0.0

    def __post_init__(self) -> None:
        for least, most in (self.answer_delay, self.receipt_delay):
            if least > most:
                raise ValueError(f"a delay goes from the least to the most, not from {least} to {most}")


class Receipts(NamedTuple):
    """The receipts of a message. `copies`: how many; `early`: before the submit is answered."""

    delivered: bool = True
    copies: int = 1
    early: bool = False


class Dice:
    """Repeatable chance: the same seed, kind and message give the same roll."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def number(self, kind: str, reference: str, attempt: int = 0) -> int:
        """From 0 to 2**64 - 1."""
        what = f"{self._seed}\0{kind}\0{reference}\0{attempt}".encode()
        return int.from_bytes(hashlib.blake2b(what, digest_size=8).digest())

    def happens(self, rate: float, kind: str, reference: str, attempt: int = 0) -> bool:
        """True for a share of `rate`."""
        return self.number(kind, reference, attempt) < rate * 2**64

    def seconds(self, span: tuple[int, int], kind: str, reference: str, attempt: int = 0) -> float:
        """A time within a span of milliseconds, in seconds."""
        least, most = span
        return (least + (most - least) * self.number(kind, reference, attempt) / 2**64) / 1000


class _Script(NamedTuple):
    """What happens to a magic number: `outcome` at the first `tries`, then it is accepted."""

    outcome: Outcome = "accepted"
    tries: float = float("inf")
    receipts: Receipts = Receipts()


_MAGIC: Final = {
    "0001": _Script(),
    "0002": _Script(receipts=Receipts(delivered=False)),
    "0003": _Script("rejected"),
    "0004": _Script("throttled", tries=1),
    "0005": _Script("transient", tries=2),
    "0006": _Script("transient"),
    "0007": _Script(receipts=Receipts(copies=0)),
    "0008": _Script(receipts=Receipts(copies=2)),
    "0009": _Script(receipts=Receipts(early=True)),
    "0010": _Script("unanswered", tries=1),
    "0011": _Script("hung", tries=1),
}


def magic(recipient: str, attempt: int) -> tuple[Outcome, Receipts] | None:
    """What happens at the try number `attempt` (from 1) to a magic recipient; None for any other."""
    script = _MAGIC.get(recipient[-4:])
    if script is None:
        return None
    return script.outcome if attempt <= script.tries else "accepted", script.receipts


def outcome(behaviour: Behaviour, dice: Dice, reference: str, attempt: int) -> Outcome:
    """What happens at the try number `attempt`. Transient faults depend on the try: a retry may succeed."""
    if dice.happens(behaviour.transient_rate, "transient", reference, attempt):
        return "transient"
    if dice.happens(behaviour.rejection_rate, "rejection", reference):
        return "rejected"
    if dice.happens(behaviour.hang_rate, "hang", reference, attempt):
        return "hung"
    if dice.happens(behaviour.unanswered_rate, "unanswered", reference, attempt):
        return "unanswered"
    return "accepted"


def receipts(behaviour: Behaviour, dice: Dice, reference: str) -> Receipts:
    """The receipts of an accepted message."""
    delivered = not dice.happens(behaviour.undelivered_rate, "undelivered", reference)
    if dice.happens(behaviour.no_receipt_rate, "no_receipt", reference):
        return Receipts(delivered, copies=0)
    twice = dice.happens(behaviour.duplicate_receipt_rate, "duplicate_receipt", reference)
    return Receipts(delivered, copies=2 if twice else 1)
