"""`manage.py capacity`: what a rate of messages needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from smsgateway.capacity import Capacity, capacity
from smsgateway.checks import WITHOUT_URLS


class Command(BaseCommand):
    help = (
        "Print what a rate of messages needs: processes, Kafka partitions, disk a day and in all, and the settings for "
        "it. Calculated from measured numbers (docs/howto/plan-capacity.md); asks no store."
    )
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rate", type=float, required=True, help="Messages a second.")
        parser.add_argument("--days", type=int, default=90, help="Days that messages stay in PostgreSQL (default 90).")
        parser.add_argument("--hours", type=float, default=24, help="Hours of a day at this rate (default 24).")

    def handle(self, *_arguments: Any, rate: float, days: int, hours: float, **_options: Any) -> None:
        if not (0 < rate <= 10**7 and 0 < days <= 36_500 and 0 < hours <= 24):
            raise CommandError("--rate must be above 0, --days from 1 to 36500, --hours above 0 and at most 24.")
        for line in _lines(capacity(settings.CONFIG, rate=rate, days=days, hours=hours), rate=rate, hours=hours):
            self.stdout.write(line)


def _lines(found: Capacity, *, rate: float, hours: float) -> Iterator[str]:
    yield f"{rate:,g} messages a second, {hours:g} hours a day: {rate * hours * 3600:,.0f} messages a day"
    yield ""
    yield "processes, with half of their capacity in reserve"
    for name, copies in found.processes.items():
        yield f"  {name:10} {copies}"
    yield f"  PostgreSQL {found.postgres_cores} cores"
    yield f"  Kafka      {found.kafka_partitions} partitions a topic"
    yield ""
    yield f"{'disk':26} {'a message':>10} {'a day':>10} {'in all':>10}  kept"
    for disk in found.disks:
        yield (
            f"{disk.store:26} {disk.per_message:>8.0f} B {_size(disk.per_day):>10} {_size(disk.total):>10}  {disk.kept}"
        )
    yield ""
    yield "keep 30 % of each disk free, and double the WAL during a backup"
    if found.settings:
        yield "settings to change: " + " ".join(f"{name}={value}" for name, value in found.settings.items())


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"
