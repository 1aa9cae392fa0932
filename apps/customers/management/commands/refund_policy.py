"""`manage.py refund_policy`: set the failures that refund a customer's messages, for scripts."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.customers.models import RefundOn
from apps.customers.services import customer_refund_policy
from smsgateway import ids
from smsgateway.checks import WITHOUT_URLS
from smsgateway.errors import GatewayError


class Command(BaseCommand):
    help = "Set the failures that refund a customer's messages. Canceled messages are always refunded."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("customer_id", help="The customer's id (ULID).")
        parser.add_argument("--on", required=True, help=f"One or more of {','.join(RefundOn.values)}; or all, or none.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        chosen = {"all": list(RefundOn.values), "none": []}.get(options["on"], options["on"].split(","))
        try:
            customer_id = ids.from_text(options["customer_id"])
        except ValueError:
            raise CommandError("A customer's id is a ULID: 26 letters and digits.") from None
        try:
            customer = customer_refund_policy(customer_id=customer_id, refund_on=chosen)
        except GatewayError as error:
            raise CommandError(f"{error.title}. {error.detail}") from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(json.dumps({"customer_id": options["customer_id"].upper(), "refund_on": customer.refund_on}))
