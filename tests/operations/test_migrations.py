"""Migrations only expand: the processes of the previous version go on working while the new ones start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from smsgateway.partitions import TABLES

OURS = ("balance", "customers", "sms", "reporting", "smsgateway")
# Made before anybody ran it: up to these nothing had to go on working.
BEFORE_THE_FIRST_RELEASE = {"balance": 3, "customers": 5, "sms": 8}

_CONTRACTS = re.compile(
    r"\bDROP\s+(TABLE|COLUMN)\b|\bRENAME\s+(COLUMN|TO|CONSTRAINT)\b|\bSET\s+NOT\s+NULL\b|\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b"
    r"|\bTRUNCATE\b",
    re.IGNORECASE,
)


def contracting(operations: list[Operation]) -> Iterator[str]:
    """What of these operations the code of before could not live with."""
    for operation in operations:
        match operation:
            case migrations.SeparateDatabaseAndState():
                yield from contracting(list(operation.database_operations))
            case migrations.RemoveField() | migrations.RenameField() | migrations.DeleteModel():
                yield operation.describe()
            case migrations.RenameModel() | migrations.AlterModelTable():
                yield operation.describe()
            case migrations.AddField() if not _writable_without(operation.field):
                yield f"{operation.describe()}: required, and without a default in the database"
            case migrations.RunSQL():
                statements = operation.sql if isinstance(operation.sql, str) else " ".join(map(str, operation.sql))
                if found := _CONTRACTS.search(statements):
                    yield f"SQL: {found[0]}"
            case _:
                pass


_STOPS_WRITES = re.compile(
    rf"\bCREATE\s+(UNIQUE\s+)?INDEX\b(?!\s+CONCURRENTLY)[^;]*?\bON\s+({'|'.join(TABLES)})\b", re.IGNORECASE
)


def stopping_sends(operations: list[Operation]) -> Iterator[str]:
    """Which of these operations hold a lock on a partitioned table while they build an index on it."""
    for operation in operations:
        match operation:
            case migrations.SeparateDatabaseAndState():
                yield from stopping_sends(list(operation.database_operations))
            case migrations.RunSQL():
                statements = operation.sql if isinstance(operation.sql, str) else " ".join(map(str, operation.sql))
                if found := _STOPS_WRITES.search(statements):
                    yield f"SQL: {found[0]}"
            case _:
                pass


def _writable_without(field: models.Field) -> bool:  # type: ignore[type-arg]
    """Whether the previous version, which does not know the column, can still insert rows."""
    return field.null or field.db_default is not models.NOT_PROVIDED or field.many_to_many is True


def test_no_migration_removes_what_the_previous_version_uses() -> None:
    wrong = []
    for (app, name), migration in MigrationLoader(None).disk_migrations.items():
        if app not in OURS or int(name[:4]) <= BEFORE_THE_FIRST_RELEASE.get(app, 0):
            continue
        if not getattr(migration, "contracts", ""):
            made = {operation.name_lower for operation in migration.operations if hasattr(operation, "fields")}
            operations = [one for one in migration.operations if getattr(one, "model_name_lower", None) not in made]
            wrong += [f"{app}.{name}: {what}" for what in contracting(operations)]
    assert wrong == [], "see docs/howto/upgrade.md: expand first, contract a release later with `contracts = VERSION`"


def test_no_migration_blocks_sends_with_an_index() -> None:
    wrong = []
    for (app, name), migration in MigrationLoader(None).disk_migrations.items():
        if app in OURS and int(name[:4]) > BEFORE_THE_FIRST_RELEASE.get(app, 0):
            wrong += [f"{app}.{name}: {what}" for what in stopping_sends(list(migration.operations))]
    assert wrong == [], "see docs/howto/upgrade.md: use smsgateway.partitions.indexing"


@pytest.mark.parametrize(
    ("statement", "stops"),
    [
        ("CREATE INDEX i ON sms_message (recipient, id)", True),
        ("SELECT 1; create unique index i on balance_ledgerentry (id)", True),
        ("CREATE INDEX CONCURRENTLY i ON sms_message (id)", False),
        ("CREATE INDEX i ON balance_closing (partition)", False),
    ],
)
def test_an_index_that_blocks_sends_is_found(statement: str, stops: bool) -> None:
    assert bool(list(stopping_sends([migrations.RunSQL(statement)]))) is stops


@pytest.mark.parametrize(
    "operation",
    [
        migrations.RemoveField("message", "text"),
        migrations.RenameField("message", "text", "body"),
        migrations.DeleteModel("Message"),
        migrations.AddField("message", "colour", models.TextField(default="")),
        migrations.RunSQL("ALTER TABLE sms_message DROP COLUMN text"),
        migrations.RunSQL("ALTER TABLE sms_message ALTER COLUMN text SET NOT NULL"),
        migrations.SeparateDatabaseAndState(database_operations=[migrations.RunSQL("DROP TABLE sms_message")]),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_a_contracting_step_is_found(operation: Operation) -> None:
    assert list(contracting([operation]))


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("message", "colour", models.TextField(null=True)),
        migrations.AddField("message", "colour", models.TextField(db_default="")),
        migrations.RunSQL("CREATE INDEX CONCURRENTLY i ON sms_message (id)"),
        migrations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))]),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_an_expanding_step_is_fine(operation: Operation) -> None:
    assert list(contracting([operation])) == []


def test_the_first_release_is_what_it_says() -> None:
    loaded = SimpleNamespace(names=MigrationLoader(None).disk_migrations.keys())
    for app, last in BEFORE_THE_FIRST_RELEASE.items():
        assert any(name.startswith(f"{last:04}") for of, name in loaded.names if of == app)
