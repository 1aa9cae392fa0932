"""`manage.py relay`: publishes the outbox to Kafka."""

from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from apps.sms.outbox import relay
from apps.sms.recovery.restored import refused_if_restored
from apps.sms.shards import WHOLE, Shard
from smsgateway.checks import WITHOUT_URLS
from smsgateway.kafka import client as kafka
from smsgateway.kafka import topics
from smsgateway.process import running


def _shard(text: str) -> Shard:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count) <= 256):
        raise argparse.ArgumentTypeError("a shard is INDEX/COUNT, with INDEX from 0 and COUNT up to 256, such as 0/4")
    return Shard(int(index), int(count))


class Command(BaseCommand):
    help = "Publish the outbox to Kafka until stopped."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--shard",
            type=_shard,
            default=WHOLE,
            help="Which share of the customers, as INDEX/COUNT (default 0/1: all).",
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        config = settings.CONFIG
        with running("relay") as process:
            topics.warn_in_background(settings.CONFIG.kafka)
            producer = kafka.producer(config.kafka, client_id="smsgateway-relay")
            with refused_if_restored(config.kafka) as check:
                relay.run(process, producer=producer, config=config, shard=options["shard"], check=check)
