"""`manage.py purge`: forget what is kept for a time only."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.customers.callbacks import secrets_purge
from apps.sms.callbacks.rows import purge as callbacks_purge
from apps.sms.idempotency import records_purge


class Command(BaseCommand):
    help = (
        "Delete idempotency records older than 24 hours, callbacks that ended long ago (CALLBACK_KEPT_DAYS) and "
        "secrets that sign no more. Run it hourly or daily."
    )

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        now = dt.datetime.now(tz=dt.UTC)
        self.stdout.write(f"{records_purge(now=now)} idempotency records deleted.")
        kept = dt.timedelta(days=settings.CONFIG.callback.kept_days)
        self.stdout.write(f"{callbacks_purge(before=now - kept)} callbacks deleted.")
        self.stdout.write(f"{secrets_purge(now=now)} callback secrets deleted.")
