"""A message on its way to an operator, and its place on Kafka."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import msgspec

from apps.sms.events import DeliveryRequested


class Partition(NamedTuple):
    """A partition of one of the delivery topics."""

    topic: str
    number: int


class Place(NamedTuple):
    """Where a message stands on Kafka."""

    partition: Partition
    offset: int


# The priorities, the most urgent first.
RANKS: Final = {"otp": 0, "normal": 1, "bulk": 2}


class Job:
    """A message to deliver.

    `attempts`: submits that counted so far; `delays`: how often it was put off, for any reason; `refused`: the
    connections that refused it for good. They travel with the message when it is put off.
    """

    __slots__ = ("attempts", "delays", "message", "place", "rank", "refused")

    def __init__(self, message: DeliveryRequested, place: Place) -> None:
        self.message = message
        self.place = place
        self.rank = RANKS.get(message.priority, RANKS["normal"])
        self.attempts = message.attempts
        self.delays = message.delays
        self.refused = message.refused

    @property
    def is_expired(self) -> bool:
        return time.time() * 1000 >= self.message.expires_at

    def put_off(self, delay: float) -> DeliveryRequested:
        """The message as it goes to a retry topic, due in `delay` seconds or when its validity ends, if that is sooner.

        An expired message must be read too: only then does it become `expired`, and is refunded.
        """
        due = min(int((time.time() + delay) * 1000), self.message.expires_at)
        return msgspec.structs.replace(
            self.message, attempts=self.attempts, delays=self.delays, refused=self.refused, not_before=due
        )
