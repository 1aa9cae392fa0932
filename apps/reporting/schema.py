"""The schema of ClickHouse: numbered SQL files, each applied once and never changed afterwards."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smsgateway.clickhouse import ClickHouse

FOLDER: Final = Path(__file__).parent / "migrations_clickhouse"

_CREATE_RECORD: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations
    (name String, checksum String, applied_at DateTime('UTC'))
    ENGINE = ReplacingMergeTree ORDER BY name
"""
_RECORD: Final = "INSERT INTO schema_migrations (name, checksum, applied_at) VALUES"
_RECORD_EXISTS: Final = "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations'"
_APPLIED: Final = "SELECT name, checksum, toUnixTimestamp(applied_at) FROM schema_migrations FINAL"


class MigrationChanged(Exception):
    """A migration that has been applied was changed"""


@dataclasses.dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file. `applied_at` is None until it has been applied to this database."""

    name: str
    checksum: str
    statements: list[str]
    applied_at: dt.datetime | None


def migrations(*, database: ClickHouse, folder: Path = FOLDER) -> list[Migration]:
    """All migrations in `folder`, in the order of their names. Writes nothing.

    Raises MigrationChanged if the file of an applied one is not what was applied, and ClickHouseError.
    """
    rows = database.query(_APPLIED) if database.query(_RECORD_EXISTS) else []
    applied = {name: (checksum, dt.datetime.fromtimestamp(at, tz=dt.UTC)) for name, checksum, at in rows}
    found = []
    for path in sorted(folder.glob("[0-9][0-9][0-9]_*.sql")):
        text = path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        applied_checksum, applied_at = applied.get(path.name, (checksum, None))
        if applied_checksum != checksum:
            raise MigrationChanged(
                f"{path.name} was changed after it had been applied. Restore it and add a new migration."
            )
        found.append(Migration(path.name, checksum, _statements(text), applied_at))
    return found


def migrate(*, database: ClickHouse, folder: Path = FOLDER) -> Iterator[str]:
    """Apply what has not been applied yet and yield each migration's name when it is.

    ClickHouse has no transactions: a migration that was cut short runs again from its first statement, so every
    statement must bear that (IF NOT EXISTS, OR REPLACE). Raises MigrationChanged before anything is applied, and
    ClickHouseError.
    """
    found = migrations(database=database, folder=folder)
    database.execute(_CREATE_RECORD)
    for migration in found:
        if migration.applied_at:
            continue
        for statement in migration.statements:
            database.execute(statement)
        now = int(dt.datetime.now(tz=dt.UTC).timestamp())
        database.insert(_RECORD, [[migration.name], [migration.checksum], [now]])
        yield migration.name


def _statements(text: str) -> list[str]:
    """The statements of a file: each ends with a semicolon at a line's end; comments have lines of their own."""
    without_comments = re.sub(r"^\s*--.*\n?", "", text, flags=re.MULTILINE)
    parts = re.split(r";[ \t]*$", without_comments, flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]
