"""`manage.py purge`: deletes rows that are kept for a limited time."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.sms.recovery.purge import kinds_of, purge
from smsgateway import textfile_metrics
from smsgateway.checks import WITHOUT_URLS
from smsgateway.metrics import PURGED


class Command(BaseCommand):
    help = (
        "Delete, in batches, idempotency records older than 24 hours, callbacks that ended CALLBACK_KEPT_DAYS ago, "
        "replaced callback secrets, rows of released held messages, expired logins, forms confirmed 30 days ago, "
        "the admin log (ADMIN_LOG_KEPT_DAYS) and, by setting, the audit log (ADMIN_AUDIT_KEPT_DAYS). Run it hourly or "
        "daily. "
        "Exit status: 1 if a kind could not be finished; the others are deleted all the same."
    )
    requires_system_checks = WITHOUT_URLS

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        with textfile_metrics.job("purge", PURGED):
            done = purge(kinds_of(settings.CONFIG), now=dt.datetime.now(tz=dt.UTC))
            for name, count in done.deleted.items():
                self.stdout.write(f"{count} {name} deleted.")
            if done.failed:
                failures = "; ".join(f"{name}: {error}" for name, error in done.failed.items())
                raise CommandError(f"Not finished; run it again: {failures}")
