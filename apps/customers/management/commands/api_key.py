"""`manage.py api_key`: create, list and revoke API keys, for scripts."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.customers import keys
from apps.customers.models import ApiKey
from smsgateway import ids
from smsgateway.checks import WITHOUT_URLS
from smsgateway.errors import GatewayError


class Command(BaseCommand):
    help = "Manage the API keys of customers. To rotate one, create the new key, use it, then revoke the old one."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="Create a key and print it. It is not shown again.")
        create.add_argument("customer_id")
        create.add_argument("--label", default="", help="What the key is for.")
        actions.add_parser("list", help="List a customer's keys, as JSON lines.").add_argument("customer_id")
        actions.add_parser("revoke", help="Revoke a key.").add_argument("prefix", help="The 8 characters after sgw_.")

    def handle(self, *_arguments: Any, action: str, **options: Any) -> None:
        try:
            match action:
                case "create":
                    _, text = keys.key_create(customer_id=_customer_id(options["customer_id"]), label=options["label"])
                    self.stdout.write(text)
                case "list":
                    for key in ApiKey.objects.filter(customer=_customer_id(options["customer_id"])).order_by("id"):
                        self.stdout.write(json.dumps(_row(key)))
                case "revoke":
                    self.stdout.write(json.dumps(_row(keys.key_revoke(prefix=options["prefix"]))))
        except GatewayError as error:
            raise CommandError(f"{error.title}. {error.detail}") from None


def _customer_id(text: str) -> UUID:
    try:
        return ids.from_text(text)
    except ValueError:
        raise CommandError("A customer's id is a ULID: 26 letters and digits.") from None


def _row(key: ApiKey) -> dict[str, str | None]:
    moments = {"created_at": key.created_at, "revoked_at": key.revoked_at, "last_used_at": key.last_used_at}
    times = {name: moment.isoformat(timespec="seconds") if moment else None for name, moment in moments.items()}
    return {"prefix": key.prefix, "label": key.label, **times}
