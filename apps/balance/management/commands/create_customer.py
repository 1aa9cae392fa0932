"""`manage.py create_customer`: creates a customer with an account, for scripts."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.balance.services import prepaid_customer_create
from smsgateway import ids
from smsgateway.checks import WITHOUT_URLS


class Command(BaseCommand):
    help = "Create a customer with an empty account and print its id."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--pace", type=int, default=100, help="Segments a second (default 100).")
        parser.add_argument("--messages-per-minute", type=int, help="Its rate limit; else API_MESSAGES_PER_MINUTE.")
        parser.add_argument("--email", default="", help="Receives notices, such as of a low balance.")
        parser.add_argument("--json", action="store_true", help="Print a JSON object.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        currency = settings.CONFIG.sms.currency
        try:
            customer = prepaid_customer_create(
                name=options["name"],
                segments_per_second=options["pace"],
                currency=currency,
                messages_per_minute=options["messages_per_minute"],
                email=options["email"],
            )
        except ValidationError as error:
            raise CommandError(
                " ".join(f"{field}: {' '.join(errors)}" for field, errors in error.message_dict.items())
            ) from None
        customer_id = ids.to_text(customer.id)
        created = {"customer_id": customer_id, "name": customer.name, "balance": 0, "currency": currency}
        self.stdout.write(json.dumps(created) if options["json"] else customer_id)
