"""How far the consumers of Kafka lag, by the offsets that their groups have committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from confluent_kafka import KafkaException
from django.conf import settings

from apps.console.state.poll import Unavailable
from smsgateway.kafka.groups import topics_by_process
from smsgateway.kafka.lag import LagClient

_SECONDS: Final = 2.0


class Lag(NamedTuple):
    """Events that a process has not handled yet, in total and by topic."""

    events: int
    topics: Mapping[str, int]


def lags() -> dict[str, Lag]:
    """The lag of each process. Raises Unavailable."""
    config = settings.CONFIG.kafka
    try:
        client = LagClient(config, client_id="smsgateway-console")
        found = client.progress(topics_by_process(config), timeout=_SECONDS)
    except KafkaException as error:
        raise Unavailable(f"Kafka: {error.args[0].str()}") from error
    lags = {}
    for process, partitions in found.items():
        topics: dict[str, int] = {}
        for (topic, _), progress in partitions.items():
            topics[topic] = topics.get(topic, 0) + progress.lag
        lags[process] = Lag(sum(topics.values()), topics)
    return lags
