"""`manage.py callbacks`: sends status notifications to customers."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand

from apps.sms.callbacks.low_balance import LowBalanceWatch
from apps.sms.callbacks.sender import Sender
from apps.sms.callbacks.worker import CallbackWorker
from smsgateway.checks import WITHOUT_URLS
from smsgateway.process import running

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Send callbacks to customers until stopped; on SIGTERM finish those in flight first."
    requires_system_checks = WITHOUT_URLS

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        config = settings.CONFIG.callback
        with running("callbacks") as process:
            if config.private:
                log.warning("callbacks_reach_private_addresses", setting="CALLBACK_ALLOW_PRIVATE")
            with LowBalanceWatch(process.stopping, seconds=config.low_balance_check):
                asyncio.run(CallbackWorker(process, sender=Sender(config), config=config).run())
