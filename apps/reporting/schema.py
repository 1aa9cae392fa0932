"""The schema of ClickHouse: numbered SQL files, each applied once and never changed afterwards.

The files are Django templates, rendered for one server or for a cluster (`ON CLUSTER`, Replicated engines, Distributed
tables). Checksums are those of the unrendered files, so they are the same everywhere.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django.template import Context, Engine

from smsgateway.clickhouse import ClickHouse
from smsgateway.config import settings as config_settings

FOLDER: Final = Path(__file__).parent / "migrations_clickhouse"

_TEMPLATES: Final = Engine(autoescape=False)
# In a cluster every node holds the whole table, so any node can be queried.
_CREATE_RECORD: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations {{ on_cluster }}
    (name String, checksum String, applied_at DateTime('UTC'))
    ENGINE = {% if cluster %}ReplicatedReplacingMergeTree(
        '/clickhouse/tables/{uuid}/all', '{shard}-{replica}'
    ){% else %}ReplacingMergeTree{% endif %} ORDER BY name
"""
_RECORD: Final = "INSERT INTO schema_migrations (name, checksum, applied_at) VALUES"
_RECORD_EXISTS: Final = "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations'"
_APPLIED: Final = "SELECT name, checksum, toUnixTimestamp(applied_at) FROM schema_migrations FINAL"

_TTL: Final = """
    SELECT extract(engine_full, ' TTL (.+?)(?: SETTINGS|$)')
      FROM system.tables
     WHERE database = currentDatabase() AND name = %(table)s
"""


class MigrationChanged(Exception):
    """A migration that has been applied was changed"""


@dataclasses.dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file. `applied_at` is None until it has been applied to this database."""

    name: str
    checksum: str
    statements: list[str]
    applied_at: dt.datetime | None


def render(template: str, *, config: config_settings.ClickHouse) -> str:
    """The SQL of a template for these settings."""
    cluster = config.cluster
    meanings = {
        "cluster": cluster,
        "on_cluster": f"ON CLUSTER '{cluster}'" if cluster else "",
        # The table that holds the data; in a cluster the plain name is the Distributed table over it.
        "local": "_local" if cluster else "",
        "replicated": "Replicated" if cluster else "",
    }
    return str(_TEMPLATES.from_string(template).render(Context(meanings, autoescape=False)))


def migrations(*, database: ClickHouse, folder: Path = FOLDER) -> list[Migration]:
    """All migrations in `folder`, in the order of their names. Writes nothing.

    Raises MigrationChanged if the file of an applied migration was changed, and ClickHouseError.
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
                f"{path.name} was changed after it had been applied. Restore it and add a new migration. Or, if the "
                "data can be lost, start with an empty database and reset the consumer offsets of ingest."
            )
        found.append(Migration(path.name, checksum, statements(text, config=database.config), applied_at))
    return found


def migrate(*, database: ClickHouse, folder: Path = FOLDER) -> Iterator[str]:
    """Apply the pending migrations, and yield each one's name once it is applied.

    ClickHouse has no transactions: an interrupted migration runs again from its first statement, so every statement
    must be repeatable (IF NOT EXISTS, OR REPLACE). Raises MigrationChanged before anything is applied, and
    ClickHouseError.
    """
    found = migrations(database=database, folder=folder)
    database.execute(render(_CREATE_RECORD, config=database.config))
    for migration in found:
        if migration.applied_at:
            continue
        for statement in migration.statements:
            database.execute(statement)
        now = int(dt.datetime.now(tz=dt.UTC).timestamp())
        database.insert(_RECORD, [[migration.name], [migration.checksum], [now]])
        yield migration.name


def retention(*, database: ClickHouse) -> list[str]:
    """The statements that set each table's TTL as the settings say; none for tables that have it already.

    Tables that do not exist yet are skipped. Raises ClickHouseError.
    """
    config = database.config
    wanted = (
        ("sms_events", "minute", config.raw_kept_days),
        ("sms_minutes", "minute", config.minute_kept_days),
        ("sms_days", "day", config.daily_kept_days),
    )
    statements = []
    for table, column, days in wanted:
        name = render(table + "{{ local }}", config=config)
        ttl = f"{column} + toIntervalDay({days})" if days else ""
        for (kept,) in database.query(_TTL, {"table": name}):
            if kept != ttl:
                change = f"MODIFY TTL {ttl}" if days else "REMOVE TTL"
                statements.append(render(f"ALTER TABLE {name} {{{{ on_cluster }}}} {change}", config=config))
    return statements


def statements(template: str, *, config: config_settings.ClickHouse) -> list[str]:
    """The statements of a file. Each ends with a semicolon at the end of a line; comments are on lines of their own."""
    without_comments = re.sub(r"^\s*--.*\n?", "", render(template, config=config), flags=re.MULTILINE)
    parts = re.split(r";[ \t]*$", without_comments, flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]
