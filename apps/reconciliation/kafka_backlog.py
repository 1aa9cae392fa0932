"""Whether events wait on Kafka that could still change the status of messages."""

from __future__ import annotations

import time
from typing import Final

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka

# Longer than a message takes from one topic to the next, so it cannot pass unseen between two reads of the lag.
PAUSE_SECONDS: Final = 2.0


def messages_waiting(config: Kafka) -> int:
    """How many events delivery workers and settlement have not handled yet, read twice so that 0 is certain.

    A worker commits an offset only after Kafka has confirmed the status event, so messages in work count too. Raises
    KafkaUnavailable.
    """
    first = _waiting(config)
    if first:
        return first
    time.sleep(PAUSE_SECONDS)
    return _waiting(config)


def _waiting(config: Kafka) -> int:
    delivery = kafka.lag(config, process="deliver", topics=config.read_delivery_topics)
    settlement = kafka.lag(config, process="settle", topics=[config.topic_status, config.topic_held])
    return sum(delivery.values()) + sum(settlement.values())
