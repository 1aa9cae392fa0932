"""`manage.py show_id`: show an id as the API and logs write it, as PostgreSQL stores it, and its time of creation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from smsgateway import ids


class Command(BaseCommand):
    help = "Show each id in both forms, 26 characters and UUID, with its time of creation: one line each."
    requires_system_checks = ()  # it needs no service

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", nargs="+", help="An id in either form.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        for text in options["id"]:
            try:
                value = ids.from_text(text) if len(text) == 26 else UUID(text)
            except ValueError:
                raise CommandError(f"{text} is neither 26 letters and digits nor a UUID.") from None
            self.stdout.write(f"{ids.to_text(value)}  {value}  {ids.moment(value).isoformat(timespec='seconds')}")
