"""`manage.py try_receipt`: shows what an operator's settings make of a receipt. Nothing is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.sms import events
from apps.sms.operators.preview import Reading, receipt_preview
from apps.sms.recovery.dead_letters import letters_list
from smsgateway.checks import WITHOUT_URLS
from smsgateway.config import HttpOperator, SmppOperator, operator_changed
from smsgateway.kafka import client as kafka


class Command(BaseCommand):
    help = "Shows what an operator's settings make of a receipt, also with changed settings. Nothing is stored."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("operator", help="Its name.")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--letter", metavar="PLACE", help="A dead letter, PARTITION:OFFSET.")
        source.add_argument("--hex", help="The octets of a PDU in hexadecimal.")
        source.add_argument("--text", help="The text of a deliver_sm, or the body of a request.")
        source.add_argument("--file", type=Path, help="A file with the octets of a PDU, or the body of a request.")
        parser.add_argument("--content-type", default="", help="Of the body.")
        parser.add_argument("--query", default="", help="The query of the request.")
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", help="A changed setting, without its prefix."
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        config = settings.CONFIG
        operator = (config.smpp_operators | config.http_operators).get(options["operator"])
        if operator is None:
            raise CommandError(f"{options['operator']} is not one of OPERATORS_HTTP and OPERATORS_SMPP.")
        operator = _changed(operator, options["set"])
        for reading in _readings(operator, options):
            self._write(reading)

    def _write(self, reading: Reading) -> None:
        for name, value in reading.facts:
            self.stdout.write(f"{name}: {value}")
        if reading.reason:
            self.stdout.write(f"NOT READ: {reading.reason}")
        if reading.hint:
            self.stdout.write(f"SET: {reading.hint}")


def _changed(operator: HttpOperator | SmppOperator, entries: list[str]) -> HttpOperator | SmppOperator:
    changes = {name: value for name, _, value in (entry.partition("=") for entry in entries)}
    changed: HttpOperator | SmppOperator
    if isinstance(operator, SmppOperator):
        changed, problems = operator_changed(operator, changes)
    else:
        changed, problems = operator_changed(operator, changes)
    if problems:
        raise CommandError(problems[0].message)
    return changed


def _readings(operator: HttpOperator | SmppOperator, options: dict[str, Any]) -> list[Reading]:
    content_type, query = options["content_type"], options["query"]
    pasted: str | bytes = options["hex"] or options["text"] or ""
    if options["file"]:
        pasted = options["file"].read_bytes()
    if options["letter"]:
        unread = _unread(options["letter"])
        pasted, content_type, query = unread.octets, unread.content_type, unread.query
    return receipt_preview(operator, pasted, content_type=content_type, query=query)


def _unread(place: str) -> events.ReceiptUnread:
    try:
        letters = letters_list(settings.CONFIG.kafka)
    except kafka.KafkaUnavailable as error:
        raise CommandError(f"Kafka: {error}.") from None
    for letter in letters:
        if letter.place == place and events.is_unread_receipt(letter.value):
            return events.decode_unread(letter.value)
    raise CommandError(
        f"There is no unreadable receipt at {place}. `manage.py dlq list --reason unreadable` lists all."
    )
