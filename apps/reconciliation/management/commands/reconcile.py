"""`manage.py reconcile`: do PostgreSQL, ClickHouse and the ledger agree?"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.reconciliation.report import as_data, lines
from apps.reconciliation.service import AnotherRuns, reconcile
from smsgateway import clickhouse, ids, metrics, textfile_metrics
from smsgateway.checks import WITHOUT_URLS

DIFFERENCES = 3
"""Exit status if differences were found; 1 means that the run failed."""


class Command(BaseCommand):
    help = (
        "Compare messages, money and statuses in PostgreSQL and ClickHouse by customer and day, look for accepted "
        "messages that are stuck, and check every balance against its ledger. Exits with 3 if anything was found, "
        "with 75 if another run is in progress."
    )
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        day = dt.date.fromisoformat
        parser.add_argument("--from", dest="first", type=day, help="first day, UTC (default: RECONCILE_DAYS)")
        parser.add_argument("--to", dest="last", type=day, help="last day, UTC (default: today)")
        parser.add_argument("--customer", type=ids.from_text, help="one customer only")
        parser.add_argument(
            "--repair", action="store_true", help="publish events that ClickHouse lacks, put stuck messages back"
        )
        parser.add_argument(
            "--even-if-waiting",
            action="store_true",
            help="with --repair: put stuck messages back although events wait on Kafka; some may be submitted twice",
        )
        parser.add_argument(
            "--unless-busy", action="store_true", help="for schedulers: exit with 0 if another run is in progress"
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
            reason = f"{error.__doc__}. {error}"
            if not options["unless_busy"]:
                raise CommandError(reason, returncode=os.EX_TEMPFAIL) from error
            self.stdout.write(f"{reason} Nothing was done.")
            return
        except clickhouse.ClickHouseError as error:
            raise CommandError(f"ClickHouse: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(as_data(report)))
        else:
            for line in lines(report, currency=settings.CONFIG.sms.currency):
                self.stdout.write(line)
        if not report.agrees:
            sys.exit(DIFFERENCES)
