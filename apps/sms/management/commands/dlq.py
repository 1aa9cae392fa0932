"""`manage.py dlq list|show|replay`: lists dead letters, and replays them once their cause is fixed."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.sms.recovery.dead_letters import Letter, NotReplayable, letters_list, letters_replay
from smsgateway.checks import WITHOUT_URLS
from smsgateway.kafka import client as kafka


class Command(BaseCommand):
    help = "Dead letters: events that no process could handle, with the reason."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="One line a letter, the oldest first.")
        listing.add_argument("--reason", default="", help="Only those whose reason contains this text.")
        listing.add_argument("--replayed", action="store_true", help="Include letters that were replayed.")
        show = actions.add_parser("show", help="Headers and value of one letter.")
        show.add_argument("place", help="PARTITION:OFFSET, as list prints it.")
        replay = actions.add_parser("replay", help="Publish letters to the topics that they came from.")
        replay.add_argument("places", nargs="*", metavar="place", help="PARTITION:OFFSET, as list prints it.")
        replay.add_argument("--all", action="store_true", help="Every letter that was not replayed yet.")
        replay.add_argument(
            "--again", action="store_true", help="With --all: include letters that came back from an earlier replay."
        )
        replay.add_argument("--reason", default="", help="With --all: only those whose reason contains this text.")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(letters_list(settings.CONFIG.kafka), options)
        except kafka.KafkaUnavailable as error:
            brokers = ",".join(settings.CONFIG.kafka.brokers)
            raise CommandError(f"Kafka at {brokers}: {error}. Start it, or fix KAFKA_BROKERS.") from None
        except NotReplayable as error:
            raise CommandError(str(error)) from None

    def _list(self, letters: list[Letter], options: dict[str, Any]) -> None:
        for letter in letters:
            if options["reason"] in letter.reason and (options["replayed"] or not letter.is_replayed):
                at = dt.datetime.fromtimestamp(letter.at / 1000, tz=dt.UTC).isoformat(timespec="seconds")
                mark = "  came back" if letter.came_back else ""
                mark += "  replayed" if letter.is_replayed else ""
                self.stdout.write(f"{letter.place}  {at}  {letter.source or '-'}  {letter.reason}{mark}")

    def _show(self, letters: list[Letter], options: dict[str, Any]) -> None:
        letter = _at(letters, options["place"])
        for name, value in letter.headers:
            self.stdout.write(f"{name}: {value.decode(errors='replace') if isinstance(value, bytes) else value}")
        self.stdout.write(f"key: {letter.key.decode(errors='replace')}\n\n{letter.value.decode(errors='replace')}")

    def _replay(self, letters: list[Letter], options: dict[str, Any]) -> None:
        if options["all"] == bool(options["places"]):
            raise CommandError("Name letters by PARTITION:OFFSET, or say --all.")
        chosen = [_at(letters, place) for place in options["places"]]
        if options["all"]:
            chosen = [one for one in letters if options["reason"] in one.reason and not one.is_replayed]
        back = [one for one in chosen if one.came_back and options["all"] and not options["again"]]
        if back:
            # Run by a scheduler, --all would send the same events in circles.
            chosen = [one for one in chosen if not one.came_back]
            self.stdout.write(f"{len(back)} came back from an earlier replay: skipped; --again replays them too.")
        config = settings.CONFIG.kafka
        count = letters_replay(chosen, producer=kafka.producer(config, client_id="smsgateway-dlq"), config=config)
        self.stdout.write(f"{count} replayed.")


def _at(letters: list[Letter], place: str) -> Letter:
    for letter in letters:
        if letter.place == place:
            return letter
    raise CommandError(f"There is no dead letter {place}. `manage.py dlq list --replayed` lists all.")
