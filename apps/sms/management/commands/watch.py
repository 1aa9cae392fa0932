"""`manage.py watch`: measures from outside what alerts are based on."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.sms import watch
from smsgateway.checks import WITHOUT_URLS
from smsgateway.process import running


class Command(BaseCommand):
    help = "Measure outbox, consumer groups, partitions and ledger from outside, until stopped."
    requires_system_checks = WITHOUT_URLS

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        with running("watch") as process:
            watch.run(process, config=settings.CONFIG)
