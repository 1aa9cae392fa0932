"""`manage.py partitions`: creates partitions ahead, archives old ones, restores archived ones."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from apps.sms.partitions import partitioned_tables
from smsgateway import textfile_metrics
from smsgateway.checks import WITHOUT_URLS
from smsgateway.models import ArchivedPartition
from smsgateway.partitions import maintenance
from smsgateway.partitions.catalog import attached
from smsgateway.partitions.lock import Busy, session
from smsgateway.partitions.spans import name
from smsgateway.partitions.table import Held, PartitionedTable, Trouble

State = ArchivedPartition.State
_BUSY_SECONDS: Final = 600.0
_BUSY_POLL_SECONDS: Final = 1.0


class Command(BaseCommand):
    help = (
        "Maintain the partitions of messages, status log, ledger and submits. `apply` is the daily job. "
        "Exit status: 0 done, 1 somebody must act, 75 another run is active."
    )
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("plan", help="Print what apply would do.")
        apply = actions.add_parser("apply", help="Create partitions ahead, archive those older than their retention.")
        apply.add_argument(
            "--unless-busy", action="store_true", help="For schedulers: exit with 0 if another run is active."
        )
        actions.add_parser(
            "create",
            help="For deployments: create partitions ahead and archive nothing. Succeeds if another run is active, or "
            "one cannot be created, as long as the next 3 days have partitions.",
        )
        actions.add_parser("list", help="List each partition with its state in the database and in the archive.")
        check = actions.add_parser("check", help="Fail if somebody must act.")
        check.add_argument(
            "--days",
            type=int,
            default=maintenance.ALERT_DAYS,
            help="Days ahead that need partitions (default 3).",
        )
        archive = actions.add_parser("archive", help="Archive these partitions now, regardless of their age.")
        archive.add_argument("partition", nargs="+")
        for action in (apply, archive):
            action.add_argument("--open-too", action="store_true", help="Also where messages have not ended.")
        restore = actions.add_parser(
            "restore", help="Attach archived partitions again, messages with their status log."
        )
        restore.add_argument("partition", nargs="+")
        restore.add_argument(
            "--days", type=int, default=7, help="How many days apply leaves them attached (default 7)."
        )

    def handle(self, *_arguments: Any, action: str, **options: Any) -> None:
        tables = partitioned_tables(settings.CONFIG, open_too=options.get("open_too", False))
        try:
            getattr(self, f"_{action}")(tables, **options)
        except Busy as error:
            if options.get("unless_busy"):
                self.stdout.write(f"{error} Nothing was done.")
                return
            raise CommandError(str(error), returncode=os.EX_TEMPFAIL) from None
        except (Held, Trouble, OSError) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"PostgreSQL: {str(error).strip()} It is safe to run this again.") from None

    def _plan(self, tables: Sequence[PartitionedTable], **_options: Any) -> None:
        planned = maintenance.plan(tables, days_ahead=settings.CONFIG.partitions.days_ahead)
        for table, span in planned.create:
            self.stdout.write(f"create  {name(table, span)}")
        for record in planned.resume:
            self.stdout.write(f"resume  {record.partition} ({record.state})")
        for partition in planned.archive:
            self.stdout.write(f"archive {partition.name}")
        if not settings.CONFIG.partitions.archive and (planned.archive or planned.resume):
            self.stdout.write("PARTITION_ARCHIVE is empty: apply archives nothing.")
        for trouble in planned.troubles:
            self.stdout.write(f"trouble {trouble}")

    def _apply(self, tables: Sequence[PartitionedTable], **_options: Any) -> None:
        config = settings.CONFIG.partitions
        # A database that refuses the connection is a failure of the job; another active run is not.
        with textfile_metrics.job("partitions", *maintenance.REPORTED, not_run=(Busy,)), session("apply"):
            done = maintenance.apply(tables, days_ahead=config.days_ahead, place=config.archive)
            self.stdout.write(f"{len(done.created)} partitions created, {len(done.archived)} archived.")
            if done.troubles:
                raise CommandError("\n".join(done.troubles))

    def _create(self, tables: Sequence[PartitionedTable], **_options: Any) -> None:
        """Wait for another run only where a day that is near has no partition."""
        config = settings.CONFIG.partitions
        until = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                with session("create"):
                    done = maintenance.create_ahead(tables, days_ahead=config.days_ahead)
            except Busy as error:
                ahead = maintenance.covered_days(tables)
                if ahead >= maintenance.ALERT_DAYS:
                    self.stdout.write(f"{error} Nothing was created: there are partitions for {ahead} more days.")
                    return
                if time.monotonic() > until:
                    raise
                time.sleep(_BUSY_POLL_SECONDS)
                continue
            break
        self.stdout.write(f"{len(done.created)} partitions created.")
        for trouble in done.troubles:
            self.stderr.write(trouble)
        if done.troubles and maintenance.covered_days(tables) < maintenance.ALERT_DAYS:
            raise CommandError(f"Partitions for the next {maintenance.ALERT_DAYS} days are missing.")

    def _list(self, tables: Sequence[PartitionedTable], **_options: Any) -> None:
        records = {record.partition: record for record in ArchivedPartition.objects.all()}
        for table in tables:
            for partition in attached(table.name):
                record = records.pop(partition.name, None)
                state = "leaving" if partition.is_leaving else "attached"
                if record is not None:
                    state += f", {record.state}"
                    if record.keep_until:
                        state += f" until {record.keep_until:%Y-%m-%d}"
                self.stdout.write(f"{partition.name} {state}")
        for record in sorted(records.values(), key=lambda record: record.partition):
            rows, file = record.manifest.get("rows", "?"), record.manifest.get("file", "no file yet")
            self.stdout.write(f"{record.partition} {record.state}, {rows} rows, {file}")

    def _check(self, tables: Sequence[PartitionedTable], *, days: int, **_options: Any) -> None:
        if troubles := maintenance.check(tables, days=days):
            raise CommandError("\n".join(troubles))

    def _archive(self, tables: Sequence[PartitionedTable], *, partition: list[str], **_options: Any) -> None:
        from smsgateway.partitions.archive import archive_resume, partition_archive

        with session("archive"):
            store = self._store()
            store.check()
            for wanted in partition:
                record = ArchivedPartition.objects.filter(partition=wanted).first()
                if record is not None and record.state in (State.SEALED, State.VERIFIED):
                    record = archive_resume(_table(tables, record.parent), record, store=store)
                else:
                    found = _attached(tables, wanted)
                    record = partition_archive(_table(tables, found.table), found, store=store)
                self.stdout.write(f"{wanted} archived: {record.manifest['rows']} rows, {record.manifest['file']}.")

    def _restore(self, tables: Sequence[PartitionedTable], *, partition: list[str], days: int, **_options: Any) -> None:
        from smsgateway.partitions.restore import partition_restore

        with session("restore"):
            store = self._store()
            for wanted in partition:
                for record in _with_status_log(tables, wanted):
                    partition_restore(_table(tables, record.parent), record, store=store, keep=dt.timedelta(days=days))
                    self.stdout.write(f"{record.partition} attached, until {record.keep_until:%Y-%m-%d} at least.")

    def _store(self) -> Any:
        from smsgateway.partitions.store import Store  # pyarrow is slow to load: only for actions that need it

        if not settings.CONFIG.partitions.archive:
            raise CommandError("PARTITION_ARCHIVE is empty: set it to the location of the archive.")
        return Store(settings.CONFIG.partitions.archive)


def _table(tables: Sequence[PartitionedTable], wanted: str) -> PartitionedTable:
    return next(table for table in tables if table.name == wanted)


def _attached(tables: Sequence[PartitionedTable], wanted: str) -> Any:
    for found in attached(*(table.name for table in tables)):
        if found.name == wanted:
            return found
    raise CommandError(f"No partition {wanted} is attached; see manage.py partitions list.")


def _with_status_log(tables: Sequence[PartitionedTable], wanted: str) -> list[ArchivedPartition]:
    record = ArchivedPartition.objects.filter(partition=wanted).first()
    if record is None:
        raise CommandError(f"The archive has no partition {wanted}; see manage.py partitions list.")
    along = ArchivedPartition.objects.filter(
        parent__in=_table(tables, record.parent).along, low__lt=record.high, high__gt=record.low
    )
    return [*along.order_by("low"), record]
