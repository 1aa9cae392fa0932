"""`manage.py topup`: add to a customer's balance, for scripts."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.balance.services import account_top_up
from smsgateway import ids
from smsgateway.errors import GatewayError


class Command(BaseCommand):
    help = "Add to a customer's balance."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("customer_id", help="The customer's id (ULID).")
        parser.add_argument("amount", type=int, help="Minor units, more than 0.")
        parser.add_argument("--reference", required=True, help="What the payment is known by.")
        parser.add_argument("--json", action="store_true", help="Print a JSON object.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        try:
            entry = account_top_up(
                customer_id=ids.from_text(options["customer_id"]),
                amount=options["amount"],
                reference=options["reference"],
            )
        except ValueError:
            raise CommandError("A customer's id is a ULID: 26 letters and digits.") from None
        except GatewayError as error:
            raise CommandError(f"{error.title}. {error.detail}") from None
        booked = {"customer_id": options["customer_id"], "amount": entry.amount, "balance": entry.balance_after}
        self.stdout.write(json.dumps(booked) if options["json"] else f"balance {entry.balance_after}")
