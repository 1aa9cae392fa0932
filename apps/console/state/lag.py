"""How far the consumers of Kafka lag, by the offsets that their groups have committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # missing in its types
from django.conf import settings

from apps.console.state.poll import Unavailable
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka

_SECONDS: Final = 2.0


class Lag(NamedTuple):
    """Events that a process has not handled yet, in total and by topic."""

    events: int
    topics: Mapping[str, int]


def topics_of(config: Kafka) -> dict[str, tuple[str, ...]]:
    """The topics that each consumer of Kafka reads."""
    return {
        "deliver": config.read_delivery_topics,
        "settle": config.settled_topics,
        "ingest": (config.topic_accepted, config.topic_status),
    }


def lags() -> dict[str, Lag]:
    """The lag of each process. Raises Unavailable."""
    config = settings.CONFIG.kafka
    try:
        client = AdminClient(kafka.client_options(config) | {"client.id": "smsgateway-console"})
        return _lags(client, config)
    except KafkaException as error:
        raise Unavailable(f"Kafka: {error.args[0].str()}") from error


def _lags(client: AdminClient, config: Kafka) -> dict[str, Lag]:
    known = client.list_topics(timeout=_SECONDS).topics
    wanted = topics_of(config)
    partitions = [
        TopicPartition(topic, number)
        for topic in {topic for topics in wanted.values() for topic in topics}
        if topic in known
        for number in known[topic].partitions
    ]
    if not partitions:
        return {process: Lag(0, {}) for process in wanted}
    ends = _offsets(client, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # has no types
    committed = {process: _committed(client, config, process, topics, partitions) for process, topics in wanted.items()}
    uncommitted = {place for places in committed.values() for place, offset in places.items() if offset < 0}
    # A group that has no offset for a partition begins with its oldest event.
    oldest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # has no types
    starts = _offsets(client, [TopicPartition(*place) for place in uncommitted], oldest) if uncommitted else {}
    found = {}
    for process, places in committed.items():
        topics: dict[str, int] = {}
        for place, offset in places.items():
            behind = max(0, ends[place] - (offset if offset >= 0 else starts[place]))
            topics[place[0]] = topics.get(place[0], 0) + behind
        found[process] = Lag(sum(topics.values()), topics)
    return found


def _offsets(client: AdminClient, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    futures = client.list_offsets(dict.fromkeys(partitions, spec), request_timeout=_SECONDS)
    return {(place.topic, place.partition): future.result().offset for place, future in futures.items()}


def _committed(
    client: AdminClient, config: Kafka, process: str, topics: tuple[str, ...], partitions: list[TopicPartition]
) -> dict[tuple[str, int], int]:
    own = [TopicPartition(place.topic, place.partition) for place in partitions if place.topic in topics]
    if not own:
        return {}
    group = ConsumerGroupTopicPartitions(f"{config.consumer_group_prefix}.{process}", own)
    (future,) = client.list_consumer_group_offsets([group], request_timeout=_SECONDS).values()
    return {(place.topic, place.partition): place.offset for place in future.result().topic_partitions or ()}
