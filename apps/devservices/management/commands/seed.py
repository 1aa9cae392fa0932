"""`manage.py seed`: customers with credit, for a first try, the demo and the benchmark."""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.balance.services import account_top_up, prepaid_customer_create
from apps.customers.keys import key_create
from smsgateway import ids
from smsgateway.checks import WITHOUT_URLS
from smsgateway.errors import GatewayError


class _Wanted(NamedTuple):
    name: str
    pace: int
    balance: int


def _wanted(text: str) -> _Wanted:
    name, _, rest = text.partition(":")
    pace, _, balance = rest.partition(":")
    if not (name and pace.isdecimal() and balance.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:PACE:BALANCE, as bank:100:1000000")
    return _Wanted(name, int(pace), int(balance))


class Command(BaseCommand):
    help = "Create customers and top up their balances. Prints a JSON object of their ids by name."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "customers",
            nargs="+",
            type=_wanted,
            metavar="NAME:PACE:BALANCE",
            help="Pace: segments per second. Balance: minor units, more than 0.",
        )
        parser.add_argument(
            "--keys",
            action="store_true",
            help="Create an API key for each customer: the output has {id, key} by name then.",
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        created: dict[str, str | dict[str, str]] = {}
        for wanted in options["customers"]:
            try:
                customer = prepaid_customer_create(
                    name=wanted.name, segments_per_second=wanted.pace, currency=settings.CONFIG.sms.currency
                )
                account_top_up(customer_id=customer.id, amount=wanted.balance, reference="seed")
            except (ValidationError, GatewayError) as error:
                raise CommandError(f"{wanted.name}: {error}") from None
            shown = ids.to_text(customer.id)
            created[wanted.name] = shown
            if options["keys"]:
                _, key = key_create(customer_id=customer.id, label="seed")
                created[wanted.name] = {"id": shown, "key": key}
        self.stdout.write(json.dumps(created))
