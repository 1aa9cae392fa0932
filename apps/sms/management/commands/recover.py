"""`manage.py recover`: brings a database that was restored to an earlier time to what Kafka knows."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from apps.sms.recovery.offsets import SettlementBehind, WorkersRun, offsets_recover, statistics_restart
from apps.sms.recovery.recover import AnotherRuns, Report, recover
from smsgateway import ids, money
from smsgateway.checks import WITHOUT_URLS
from smsgateway.config import Config
from smsgateway.kafka.client import KafkaUnavailable

NOT_ALL_KNOWN: Final = 3
"""Exit status if something could not be known; 1 means that the run failed, and is to be repeated."""
_SHOWN: Final = 20


class Command(BaseCommand):
    help = (
        "After PostgreSQL was restored to an earlier time: replay what Kafka holds (messages, statuses, refunds, "
        "top-ups) into it, and take out what was sent already. Stop relay, settle, callbacks and the API before. "
        "It can be run again: a second run changes nothing. Exit status: 0 everything is known, 3 something is not (it "
        "is printed), 75 another run is active, 1 it failed: run it again."
    )
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=_moment,
            help="Read Kafka from this time on (ISO 8601), instead of from the positions that the database recorded.",
        )
        parser.add_argument(
            "--offsets",
            action="store_true",
            help="Only set the offsets of the delivery workers, which are lost; stop deliver and relay before.",
        )
        parser.add_argument(
            "--statistics",
            action="store_true",
            help="Only let ingest read everything on Kafka again, after ClickHouse was lost; stop ingest before.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        config = settings.CONFIG
        if options["offsets"]:
            self._offsets(config)
            return
        if options["statistics"]:
            self._statistics(config)
            return
        try:
            report = recover(config=config, since=options["since"])
        except AnotherRuns as error:
            raise CommandError(f"{error.__doc__}.", returncode=os.EX_TEMPFAIL) from None
        except KafkaUnavailable as error:
            raise CommandError(f"Kafka: {error}. Nothing may be sent yet; run this again.") from None
        except DatabaseError as error:
            raise CommandError(f"PostgreSQL: {str(error).strip()} Nothing may be sent yet; run this again.") from None
        if options["json"]:
            self.stdout.write(json.dumps(_as_data(report)))
        else:
            for line in _lines(report, currency=config.sms.currency):
                self.stdout.write(line)
        if not report.knows_all:
            sys.exit(NOT_ALL_KNOWN)

    def _offsets(self, config: Config) -> None:
        try:
            done = offsets_recover(config=config)
        except (SettlementBehind, WorkersRun) as error:
            raise CommandError(f"{error.__doc__}. {error}", returncode=os.EX_TEMPFAIL) from None
        except KafkaUnavailable as error:
            raise CommandError(f"Kafka: {error}. Run this again.") from None
        self.stdout.write(f"{done.partitions} partitions got new offsets, {done.put_back} messages were put back.")
        for line in _some("message on Kafka that PostgreSQL does not have", map(ids.to_text, done.unknown)):
            self.stdout.write(line)
        if done.unknown:
            sys.exit(NOT_ALL_KNOWN)

    def _statistics(self, config: Config) -> None:
        try:
            count = statistics_restart(config=config)
        except WorkersRun as error:
            raise CommandError(f"{error.__doc__}. {error}", returncode=os.EX_TEMPFAIL) from None
        except KafkaUnavailable as error:
            raise CommandError(f"Kafka: {error}. Run this again.") from None
        self.stdout.write(f"ingest will read {count} events again.")


def _moment(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _as_data(report: Report) -> dict[str, Any]:
    return {
        "since": report.since.isoformat(),
        "knows_all": report.knows_all,
        "counts": {what: count for what, count in report.counts.items() if count},
        "credit_added": {ids.to_text(customer_id): amount for customer_id, amount in report.added.items()},
        "messages_without_text": [ids.to_text(message_id) for message_id in report.textless],
        "customers_unknown": sorted(map(ids.to_text, report.customers_unknown)),
        "unusable_events": report.unusable,
        "gaps": report.gaps,
        "topics_created_again": report.recreated,
        "accounts_off": [ids.to_text(account.customer_id) for account in report.accounts],
    }


def _lines(report: Report, *, currency: str) -> Iterator[str]:
    for what, count in sorted(report.counts.items()):
        if count:
            yield f"{count} {what}"
    for place in report.recreated:
        yield f"{place} was created again: see docs/howto/backup-and-recovery.md, Kafka is lost"
    if not any(report.counts.values()):
        yield "Nothing was missing."
    if report.knows_all:
        yield "Everything that Kafka knows is in PostgreSQL."
        return
    yield "NOT KNOWN, somebody must look:"
    for customer_id, amount in report.added.items():
        shown = money.with_currency(amount, currency)
        yield f"customer {ids.to_text(customer_id)}: a credit of {shown} is not on Kafka; it was added as an adjustment"
    yield from _some("message without text, failed and refunded", map(ids.to_text, report.textless))
    yield from _some("customer without name, suspended", map(ids.to_text, report.customers_unknown))
    yield from _some("event not used", (f"{place}: {reason}" for place, reason in report.unusable.items()))
    yield from _some("deleted by retention", report.gaps)
    yield from _some("account differs from its ledger", (ids.to_text(one.customer_id) for one in report.accounts))


def _some(what: str, found: Any) -> Iterator[str]:
    every = sorted(found)
    for one in every[:_SHOWN]:
        yield f"{what}: {one}"
    if len(every) > _SHOWN:
        yield f"{what}: {len(every) - _SHOWN} more (--json lists them)"
