"""`manage.py show_id`: an id as the API and the logs show it, as PostgreSQL keeps it, and when it was made."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from smsgateway import ids


class Command(BaseCommand):
    help = "Tell each id in both forms, 26 characters and uuid, and when it was made: one line each."
    requires_system_checks = ()  # it asks nobody

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", nargs="+", help="Either form.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        for text in options["id"]:
            try:
                value = ids.from_text(text) if len(text) == 26 else UUID(text)
            except ValueError:
                raise CommandError(f"{text} is neither 26 letters and digits nor a uuid.") from None
            self.stdout.write(f"{ids.to_text(value)}  {value}  {ids.moment(value).isoformat(timespec='seconds')}")
