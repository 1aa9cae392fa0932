"""`manage.py create_kafka_topics`: creates the gateway's topics before the first process runs."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from smsgateway.checks import WITHOUT_URLS
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import topics
from smsgateway.kafka.topics import Topic

_SECONDS = 10.0


class Command(BaseCommand):
    help = (
        "Create missing Kafka topics with KAFKA_PARTITIONS (tables: one), KAFKA_REPLICATION and KAFKA_RETENTION_DAYS "
        "(dead letters: KAFKA_DEAD_LETTER_RETENTION_DAYS). Raise shorter retentions of existing topics to that, and "
        "compact the tables. Longer retentions stay as they are."
    )
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--raise",
            action="store_true",
            dest="more",
            help="Also raise topics with fewer partitions to KAFKA_PARTITIONS: see docs/howto/scale-out.md.",
        )

    def handle(self, *_arguments: Any, more: bool, **_options: Any) -> None:
        config = settings.CONFIG.kafka
        try:
            self._handle(config, more=more)
        except KafkaException as error:
            raise CommandError(
                f"Kafka at {','.join(config.brokers)}: {error.args[0].str()}. Start it, or fix KAFKA_BROKERS."
            ) from None

    def _handle(self, config: Kafka, *, more: bool) -> None:
        client = topics.admin(config)
        before = client.list_topics(timeout=_SECONDS).topics
        wanted = topics.topics_of(config)
        missing = [topic for topic in wanted if topic.name not in before]
        # Lanes beyond the current setting are read until they are empty: they need as many partitions as the others.
        retired = [name for name in config.retired_overflow_topics if name in before]
        wanted += [Topic(name, config.partitions, config.retention_days) for name in retired]
        lacks: list[topics.Lack] = []
        if topics.has_controller(client):
            topics.create(client, missing, replication=config.replication)
            lacks = topics.lacks(client, wanted)
            topics.supply(client, lacks)
        for topic in wanted:
            count = len(client.list_topics(topic.name, timeout=_SECONDS).topics[topic.name].partitions)
            done = ["created" if topic in missing else "was there"]
            if more and topic.days and count < topic.partitions:
                topics.widen(client, topic.name, topic.partitions)
                done = [f"raised from {count}"]
                count = topic.partitions
            done += [f"corrected: {lack}" for lack in lacks if lack.topic == topic.name]
            self.stdout.write(f"{topic.name}  {count} partitions  {'; '.join(done)}")
