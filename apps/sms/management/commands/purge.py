"""`manage.py purge`: forget what is kept for a time only."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand

from apps.sms.idempotency import records_purge


class Command(BaseCommand):
    help = "Delete idempotency records older than 24 hours. Run it hourly or daily."

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        deleted = records_purge(now=dt.datetime.now(tz=dt.UTC))
        self.stdout.write(f"{deleted} idempotency records deleted.")
