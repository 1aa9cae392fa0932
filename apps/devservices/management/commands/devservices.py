"""`manage.py devservices up|status|down`: PostgreSQL, Kafka and ClickHouse for development, in one folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.devservices import stack
from apps.devservices.processes import ServiceError


class Command(BaseCommand):
    help = "Start, show or stop PostgreSQL, Kafka and ClickHouse on this machine (development and tests only)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("up", "status", "down"))
        parser.add_argument(
            "--dir", type=Path, help="Folder of the data and logs; DEVSERVICES_DIR, or .devservices in the project."
        )
        parser.add_argument(
            "--kafka",
            choices=stack.KAFKA_KINDS,
            default="embedded",
            help="embedded: in memory, starts at once. apache: Apache Kafka (needs Java 17 or newer, and Maven).",
        )
        parser.add_argument(
            "--brokers", type=int, choices=(1, 3), default=1, help="Brokers of Apache Kafka: 3 replicate."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        default = stack.default_directory()
        directory = options["dir"] or default
        # The settings have added the default folder's addresses to the environment: they do not count as given.
        ours = stack.read_env(default)
        environ = {name: value for name, value in os.environ.items() if ours.get(name) != value}
        try:
            if options["action"] == "up":
                stack.up(directory, kafka=options["kafka"], brokers=options["brokers"], environ=environ)
            elif options["action"] == "down":
                stack.down(directory)
            self._report(stack.status(directory, environ=environ))
        except ServiceError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"devservices: {error}. Free some disk space, or choose another --dir.") from error

    def _report(self, services: list[stack.ServiceStatus]) -> None:
        for service in services:
            places = f"  data {service.data}  log {service.log}" if service.data else ""
            self.stdout.write(
                f"{service.name:<10}  {service.state:<7}  {service.version:<44}  {service.address or '-'}{places}"
            )
