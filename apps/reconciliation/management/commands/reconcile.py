"""`manage.py reconcile`: do PostgreSQL, ClickHouse and the ledger agree?"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.reconciliation import report as printing
from apps.reconciliation.service import AnotherRuns, reconcile
from smsgateway import clickhouse, ids, metrics, textfile_metrics
from smsgateway.checks import WITHOUT_URLS

DIFFERENCES = 3
"""Exit status where something was found; 1 is a run that failed."""


class Command(BaseCommand):
    help = (
        "Compare messages, money and statuses of PostgreSQL and ClickHouse by customer and day, look for accepted "
        "messages that do not move, and check every balance against its ledger. Ends with 3 if anything was found, "
        "with 75 if another run is at work."
    )
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        day = dt.date.fromisoformat
        parser.add_argument("--from", dest="first", type=day, help="first day, UTC (default: RECONCILE_DAYS)")
        parser.add_argument("--to", dest="last", type=day, help="last day, UTC (default: today)")
        parser.add_argument("--customer", type=ids.from_text, help="one customer only")
        parser.add_argument("--repair", action="store_true", help="tell ClickHouse what it lacks, put back the stuck")
        parser.add_argument(
            "--even-if-waiting",
            action="store_true",
            help="with --repair: put stuck messages back although others wait on Kafka; some may be submitted twice",
        )
        parser.add_argument(
            "--unless-busy", action="store_true", help="for schedulers: end with 0 if another run is at work"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        config = settings.CONFIG
        last = options["last"] or dt.datetime.now(tz=dt.UTC).date()
        first = options["first"] or last - dt.timedelta(days=config.reconcile.days - 1)
        if first > last:
            raise CommandError("--from must not be later than --to.")
        reported = (
            metrics.RECONCILE_DIFFERENCES,
            metrics.RECONCILE_DAYS_OFF,
            metrics.RECONCILE_STUCK,
            metrics.RECONCILE_ACCOUNTS_OFF,
            metrics.RECONCILE_REPAIRED,
        )
        try:
            with textfile_metrics.job("reconcile", *reported, not_run=(AnotherRuns,)):
                report = reconcile(
                    database=clickhouse.default(),
                    config=config,
                    first=first,
                    last=last,
                    customer_id=options["customer"],
                    repair=options["repair"],
                    even_if_waiting=options["even_if_waiting"],
                )
        except AnotherRuns as error:
            told = f"{error.__doc__}. {error}"
            if not options["unless_busy"]:
                raise CommandError(told, returncode=os.EX_TEMPFAIL) from error
            self.stdout.write(f"{told} Nothing was done.")
            return
        except clickhouse.ClickHouseError as error:
            raise CommandError(f"ClickHouse: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(printing.as_data(report)))
        else:
            for line in printing.lines(report, currency=settings.CONFIG.sms.currency):
                self.stdout.write(line)
        if not report.agrees:
            sys.exit(DIFFERENCES)
