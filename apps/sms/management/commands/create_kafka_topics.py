"""`manage.py create_kafka_topics`: the gateway's topics, before the first process runs."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]  # exported all the same
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from smsgateway import kafka
from smsgateway.config.kafka import Kafka

_SECONDS = 10.0


class Command(BaseCommand):
    help = "Create the Kafka topics that are missing, with KAFKA_PARTITIONS (routes: one) and KAFKA_REPLICATION."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--raise",
            action="store_true",
            dest="more",
            help="Bring those with fewer partitions to KAFKA_PARTITIONS too: see docs/howto/scale-out.md.",
        )

    def handle(self, *_arguments: Any, more: bool, **_options: Any) -> None:
        config = settings.CONFIG.kafka
        client = AdminClient(kafka.client_options(config) | {"log_level": 0})
        wanted = [
            config.topic_accepted,
            *config.delivery_topics,
            config.topic_status,
            config.topic_receipts,
            config.topic_routes,
            config.topic_dead_letter,
        ]
        try:
            before = client.list_topics(timeout=_SECONDS)
            missing = [topic for topic in wanted if topic not in before.topics]
            # The embedded broker has no controller, which alone creates: there a topic appears when it is asked about.
            if missing and before.controller_id in before.brokers:
                _create(client, missing, config=config)
            # Lanes that no setting asks for any more are read until they are empty: they must be as wide as the others.
            retired = [topic for topic in config.retired_overflow_topics if topic in before.topics]
            for topic in [*wanted, *retired]:
                count = len(client.list_topics(topic, timeout=_SECONDS).topics[topic].partitions)
                told = "created" if topic in missing else "was there"
                if more and topic != config.topic_routes and count < config.partitions:
                    _raise(client, topic, config.partitions)
                    told = f"raised from {count}"
                    count = config.partitions
                self.stdout.write(f"{topic}  {count} partitions  {told}")
        except KafkaException as error:
            raise CommandError(
                f"Kafka at {','.join(config.brokers)}: {error.args[0].str()}. Start it, or mend KAFKA_BROKERS."
            ) from None


def _create(client: AdminClient, topics: list[str], *, config: Kafka) -> None:
    new = [_new(topic, config=config) for topic in topics]
    for created in client.create_topics(new, operation_timeout=_SECONDS).values():
        try:
            created.result()
        except KafkaException as error:
            # Somebody else has created it meanwhile.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _raise(client: AdminClient, topic: str, partitions: int) -> None:
    asked = client.create_partitions([NewPartitions(topic, partitions)], operation_timeout=_SECONDS)
    asked[topic].result(_SECONDS)


def _new(topic: str, *, config: Kafka) -> NewTopic:
    if topic == config.topic_routes:
        # One key, and only its newest value counts: compaction keeps that one however old it is.
        return NewTopic(topic, 1, config.replication, config={"cleanup.policy": "compact"})
    return NewTopic(topic, config.partitions, config.replication)
