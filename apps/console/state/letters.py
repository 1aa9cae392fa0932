"""How many dead letters wait for somebody to look at them."""

from __future__ import annotations

from typing import Final

from django.conf import settings

from apps.console.state.poll import Away
from apps.sms.recovery.dead_letters import letters_newest
from smsgateway.kafka import client as kafka

NEWEST: Final = 200
_SECONDS: Final = 1.5


def letters_waiting() -> int:
    """Letters not replayed, among the NEWEST of each partition. Raises Away."""
    try:
        letters = letters_newest(settings.CONFIG.kafka, count=NEWEST, seconds=_SECONDS)
    except kafka.KafkaUnavailable as error:
        raise Away(f"Kafka: {error}") from error
    return sum(not letter.is_replayed for letter in letters)
