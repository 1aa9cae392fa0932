"""Whether anything waits on Kafka that would still move messages on."""

from __future__ import annotations

import time
from typing import Final

from smsgateway.config.kafka import Kafka
from smsgateway.kafka.lag import lag

# Longer than a message takes from one topic to the next: between two looks it cannot pass unseen.
PAUSE_SECONDS: Final = 2.0


def messages_waiting(config: Kafka) -> int:
    """How many events delivery workers and settlement have not read yet, as seen at two moments; 0: surely none.

    A worker commits what it read after the status event is confirmed, so whatever it is busy with counts. Raises
    KafkaUnavailable.
    """
    first = _waiting(config)
    if first:
        return first
    time.sleep(PAUSE_SECONDS)
    return _waiting(config)


def _waiting(config: Kafka) -> int:
    delivery = lag(config, process="deliver", topics=config.read_delivery_topics)
    settlement = lag(config, process="settle", topics=[config.topic_status, config.topic_held])
    return sum(delivery.values()) + sum(settlement.values())
