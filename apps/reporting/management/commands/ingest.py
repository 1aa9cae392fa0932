"""`manage.py ingest`: copies events from Kafka to ClickHouse."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.reporting.ingest.process import NAME, run
from smsgateway import clickhouse
from smsgateway.checks import WITHOUT_URLS
from smsgateway.kafka import topics
from smsgateway.process import running


class Command(BaseCommand):
    help = "Copy events from Kafka to ClickHouse until SIGTERM. Several copies share the Kafka partitions."
    requires_system_checks = WITHOUT_URLS

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        with running(NAME) as process:
            topics.warn_in_background(settings.CONFIG.kafka)
            run(process, config=settings.CONFIG.kafka, database=clickhouse.default())
