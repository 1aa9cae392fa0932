"""`manage.py second_factor_remove NAME`: for the superuser who lost authenticator and recovery codes."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from apps.console import second_factor
from apps.console.audit import act_record
from apps.console.logins import NOBODY
from smsgateway.checks import WITHOUT_URLS


class Command(BaseCommand):
    help = "Remove a user's second factor. The next login sets up a new one, if the user's role requires it."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="The user's name in the console.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            raise CommandError(f"No user is called {options['name']}.")
        with transaction.atomic():
            if not second_factor.remove(user):
                raise CommandError(f"{user.get_username()} has no second factor.")
            act_record(
                act="second_factor.remove",
                user_id=NOBODY,
                user_name="manage.py",
                subject=user.get_username(),
            )
        self.stdout.write(f"The second factor of {user.get_username()} is removed.")
