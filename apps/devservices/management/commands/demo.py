"""`manage.py demo`: see `apps.devservices.demo`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.devservices.demo import report
from apps.devservices.demo.rows import UnusableFile
from apps.devservices.demo.run import run
from apps.devservices.demo.sender import UnexpectedAnswer
from apps.devservices.processes import PROJECT_ROOT, ServiceError


class Command(BaseCommand):
    help = (
        "Start a whole gateway on this machine, send the messages of a CSV file through it, wait until each has ended, "
        "and check that no message is lost, sent twice or charged wrongly. The last line is a JSON object."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--messages",
            type=Path,
            default=PROJECT_ROOT / "scripts" / "demo_messages.csv",
            help="CSV with the columns customer,to,text,from,reference.",
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        # SIGTERM stops everything, as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        console = report.console()
        try:
            found = run(options["messages"], console)
        except (UnusableFile, UnexpectedAnswer, ServiceError) as error:
            raise CommandError(f"demo: {error}") from None
        except KeyboardInterrupt:
            raise CommandError("demo: interrupted; everything it started is stopped.", returncode=130) from None
        verdict = found.verdict
        for fault in (*verdict.ledger_faults, *verdict.reporting_faults):
            self.stderr.write(fault)
        self.stdout.write(json.dumps({**verdict.summary(), "seconds": found.seconds}))
        sys.exit(0 if verdict.holds else 1)
