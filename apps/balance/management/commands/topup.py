"""`manage.py topup`: adds to a customer's balance, for scripts."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.balance.selectors import account_get
from apps.balance.services import account_top_up_once
from smsgateway import ids, money
from smsgateway.checks import WITHOUT_URLS
from smsgateway.errors import GatewayError


class Command(BaseCommand):
    help = (
        "Add to a customer's balance, once for each reference: repeated with the same amount it books nothing more, "
        "with another amount it fails. So a script can always try again."
    )
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("customer_id", help="The customer's id (ULID).")
        parser.add_argument(
            "amount",
            help="Minor units, a whole number; with --major in major units, such as 1000.50 or 1,000.50. An "
            "ambiguous amount, such as 1.000, is refused.",
        )
        parser.add_argument("--major", action="store_true", help="The amount is in major units of the currency.")
        parser.add_argument("--reference", required=True, help="Identifies the payment; 1 to 200 characters.")
        parser.add_argument("--json", action="store_true", help="Print a JSON object.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        reference = " ".join(options["reference"].split())
        if not 0 < len(reference) <= 200:
            raise CommandError("A reference has 1 to 200 characters.")
        try:
            customer_id = ids.from_text(options["customer_id"])
        except ValueError:
            raise CommandError("A customer's id is a ULID: 26 letters and digits.") from None
        try:
            currency = account_get(customer_id=customer_id).currency
            amount = _amount(options["amount"], currency=currency, in_major=options["major"])
            entry, is_new = account_top_up_once(customer_id=customer_id, amount=amount, reference=reference)
        except GatewayError as error:
            raise CommandError(f"{error.title}. {error.detail}") from None
        if options["json"]:
            answer = {
                "customer_id": ids.to_text(customer_id),
                "entry_id": ids.to_text(entry.id),
                "amount": entry.amount,
                "balance": entry.balance_after,
                "currency": currency,
                "reference": reference,
                "booked": is_new,
            }
            self.stdout.write(json.dumps(answer))
        else:
            booked, balance = (_both(minor, currency) for minor in (entry.amount, entry.balance_after))
            if is_new:
                self.stdout.write(f"booked {booked}; balance {balance}")
            else:
                self.stdout.write(f"booked before: {booked}, balance then {balance}; nothing was booked now")


def _both(minor: int, currency: str) -> str:
    return f"{money.with_currency(minor, currency)} ({minor} minor units)"


def _amount(text: str, *, currency: str, in_major: bool) -> int:
    try:
        return money.read(text, currency) if in_major else money.read_minor(text)
    except money.InvalidMoney as error:
        hint = "" if in_major else " --major takes major units."
        raise CommandError(f"{error}{hint}") from None
