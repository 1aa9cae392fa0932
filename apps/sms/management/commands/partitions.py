"""`manage.py partitions`: daily partitions are made ahead."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from smsgateway import partitions


class Command(BaseCommand):
    help = "Maintain the daily partitions of messages, status log and ledger. Run `apply` daily."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        apply = actions.add_parser("apply", help="Create the partitions that are missing from yesterday on.")
        apply.add_argument("--days", type=int, default=partitions.DAYS_AHEAD, help="Days ahead (default 14).")
        actions.add_parser("list", help="List the partitions of each table.")
        check = actions.add_parser("check", help="Fail if partitions do not reach far enough ahead.")
        check.add_argument("--days", type=int, default=3, help="Days that must lie ahead (default 3).")

    def handle(self, *_arguments: Any, action: str, **options: Any) -> None:
        today = dt.datetime.now(tz=dt.UTC).date()
        match action:
            case "apply":
                created = partitions.create(first=today - dt.timedelta(days=1), days=options["days"] + 2)
                self.stdout.write(f"{len(created)} partitions created.")
            case "list":
                for table in partitions.TABLES:
                    for name in partitions.names(table):
                        self.stdout.write(name)
            case "check":
                for table in partitions.TABLES:
                    ahead = partitions.days_ahead(table, today=today)
                    if ahead < options["days"]:
                        raise CommandError(
                            f"{table} has partitions for {max(ahead, 0)} days ahead; run manage.py partitions apply."
                        )
