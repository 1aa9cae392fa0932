"""`manage.py clickhouse_migrate`: bring the schema of ClickHouse up to date."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.reporting import schema
from smsgateway import clickhouse
from smsgateway.checks import WITHOUT_URLS


class Command(BaseCommand):
    help = "Apply the ClickHouse migrations that have not been applied yet, in order."
    requires_system_checks = WITHOUT_URLS

    def add_arguments(self, parser: CommandParser) -> None:
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument("--dry-run", action="store_true", help="print the SQL that would run; change nothing")
        instead.add_argument("--status", action="store_true", help="list the migrations; change nothing")

    def handle(self, *_arguments: Any, dry_run: bool, status: bool, **_options: Any) -> None:
        try:
            if status:
                self._print_status()
            elif dry_run:
                self._print_pending()
            else:
                self._migrate()
        except schema.MigrationChanged as error:
            raise CommandError(str(error)) from error
        except clickhouse.ClickHouseUnavailable as error:
            raise CommandError(f"ClickHouse does not answer ({error}). Is CLICKHOUSE_URL right?") from error
        except clickhouse.ClickHouseError as error:
            raise CommandError(f"ClickHouse refused a statement: {error}") from error

    def _print_status(self) -> None:
        for migration in schema.migrations(database=clickhouse.default()):
            state = f"applied {migration.applied_at:%Y-%m-%d %H:%M:%SZ}" if migration.applied_at else "pending"
            self.stdout.write(f"{migration.name}  {state}")

    def _print_pending(self) -> None:
        for migration in schema.migrations(database=clickhouse.default()):
            if not migration.applied_at:
                self.stdout.write(f"-- {migration.name}")
                for statement in migration.statements:
                    self.stdout.write(f"{statement};\n")
        for statement in schema.retention(database=clickhouse.default()):
            self.stdout.write(f"{statement};\n")

    def _migrate(self) -> None:
        applied = 0
        for name in schema.migrate(database=clickhouse.default()):
            applied += 1
            self.stdout.write(f"{name}  applied")
        for statement in schema.retention(database=clickhouse.default()):
            clickhouse.default().execute(statement)
            applied += 1
            self.stdout.write(f"{statement}  done")
        if not applied:
            self.stdout.write("Nothing to apply.")
