"""`manage.py settle`: writes the status log and refunds from status events."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.sms.recovery.restored import refused_if_restored
from apps.sms.settlement import process as settlement
from smsgateway.checks import WITHOUT_URLS
from smsgateway.kafka import client as kafka
from smsgateway.kafka import topics
from smsgateway.process import running


class Command(BaseCommand):
    help = "Settle status events until stopped."
    requires_system_checks = WITHOUT_URLS

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        config = settings.CONFIG
        with running("settle") as process:
            topics.warn_in_background(settings.CONFIG.kafka)
            with refused_if_restored(config.kafka) as check:
                settlement.run(
                    process,
                    consumer=kafka.consumer(config.kafka, process="settle"),
                    dead_letters=kafka.producer(config.kafka, client_id="smsgateway-settle"),
                    config=config,
                    check=check,
                )
