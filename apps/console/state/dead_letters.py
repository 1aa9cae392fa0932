"""How many dead letters wait to be looked at."""

from __future__ import annotations

from typing import Final

from django.conf import settings

from apps.console.state.poll import Unavailable
from apps.sms.recovery.dead_letters import letters_newest
from smsgateway.kafka import client as kafka

NEWEST: Final = 200
_SECONDS: Final = 1.5


def dead_letters_waiting() -> int:
    """Dead letters not replayed yet, among the NEWEST of each partition. Raises Unavailable."""
    try:
        letters = letters_newest(settings.CONFIG.kafka, count=NEWEST, seconds=_SECONDS)
    except kafka.KafkaUnavailable as error:
        raise Unavailable(f"Kafka: {error}") from error
    return sum(not letter.is_replayed for letter in letters)
