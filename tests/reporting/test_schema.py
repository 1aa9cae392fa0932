from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from apps.reporting import schema
from smsgateway import clickhouse, ids
from smsgateway.clickhouse import ClickHouse, ClickHouseError


@pytest.fixture
def table() -> str:
    return f"made_{ids.to_text(ids.new_id())}"


@pytest.fixture
def folder(tmp_path: Path, table: str) -> Path:
    """One migration with two statements, named as no other test's."""
    (tmp_path / f"001_{table}.sql").write_text(
        "-- a comment; with a semicolon;\n"
        f"CREATE TABLE IF NOT EXISTS {table}\n"
        "(\n"
        "    -- and one inside;\n"
        "    a String\n"
        ")\n"
        "ENGINE = MergeTree ORDER BY a;\n"
        "\n"
        f"INSERT INTO {table} SELECT 'x;y';\n"
    )
    return tmp_path


def count(database: ClickHouse, table: str) -> int:
    [(rows,)] = database.query(f"SELECT count() FROM {table} WHERE a = 'x;y'")
    return int(rows)


def test_each_migration_is_applied_once(database: ClickHouse, folder: Path, table: str) -> None:
    assert list(schema.migrate(database=database, folder=folder)) == [f"001_{table}.sql"]
    assert list(schema.migrate(database=database, folder=folder)) == []

    assert count(database, table) == 1
    [migration] = schema.migrations(database=database, folder=folder)
    assert migration.applied_at


def test_a_changed_migration_is_refused_before_anything_is_applied(
    database: ClickHouse, folder: Path, table: str
) -> None:
    list(schema.migrate(database=database, folder=folder))
    first = folder / f"001_{table}.sql"
    first.write_text(first.read_text() + "\n-- changed")
    (folder / f"002_{table}.sql").write_text(f"INSERT INTO {table} SELECT 'x;y';")

    with pytest.raises(schema.MigrationChanged, match=first.name):
        list(schema.migrate(database=database, folder=folder))
    assert count(database, table) == 1


def test_a_migration_that_fails_is_not_recorded_and_runs_again(database: ClickHouse, folder: Path, table: str) -> None:
    second = folder / f"002_{table}.sql"
    second.write_text("SELECT no_such_column;")
    with pytest.raises(ClickHouseError):
        list(schema.migrate(database=database, folder=folder))

    second.write_text(f"INSERT INTO {table} SELECT 'x;y';")
    assert list(schema.migrate(database=database, folder=folder)) == [second.name]
    assert count(database, table) == 2


def test_the_command_lists_and_applies_migrations(
    database: ClickHouse, folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema.migrations, "__kwdefaults__", {"folder": folder})
    monkeypatch.setattr(schema.migrate, "__kwdefaults__", {"folder": folder})

    def run(*options: str) -> str:
        output = io.StringIO()
        call_command("clickhouse_migrate", *options, stdout=output)
        return output.getvalue()

    assert f"001_{table}.sql  pending" in run("--status")
    assert f"CREATE TABLE IF NOT EXISTS {table}" in run("--dry-run")
    assert f"001_{table}.sql  pending" in run("--status")
    assert f"001_{table}.sql  applied" in run()
    assert "Nothing to apply." in run()
    assert f"001_{table}.sql  applied 20" in run("--status")
    assert run("--dry-run") == ""


def test_the_command_says_that_clickhouse_does_not_answer(away: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse, "default", lambda: away)
    with pytest.raises(CommandError, match="does not answer"):
        call_command("clickhouse_migrate")


def test_on_a_cluster_everything_is_made_everywhere_replicated_and_sharded_by_customer(database: ClickHouse) -> None:
    config = dataclasses.replace(settings.CONFIG.clickhouse, cluster="main")

    statements = [
        statement
        for path in sorted(schema.FOLDER.glob("*.sql"))
        for statement in schema.statements(path.read_text(), config=config)
    ]

    for statement in statements:
        assert " ON CLUSTER 'main'" in statement
        database.query(f"EXPLAIN AST {statement}")  # it parses
    tables = [statement for statement in statements if statement.startswith("CREATE TABLE")]
    for name in ("sms_events", "sms_minutes", "sms_days"):
        [local] = [table for table in tables if f" {name}_local ON" in table]
        assert "ENGINE = ReplicatedReplacingMergeTree(" in local
        [distributed] = [table for table in tables if f" {name} ON" in table]
        assert f"Distributed('main', currentDatabase(), '{name}_local', sipHash64(customer_id))" in distributed
    assert len(tables) == 6


def test_on_one_server_nothing_is_replicated_or_distributed() -> None:
    for path in schema.FOLDER.glob("*.sql"):
        for statement in schema.statements(path.read_text(), config=settings.CONFIG.clickhouse):
            assert not re.search("CLUSTER|Replicated|Distributed|_local|{", statement)


def test_retention_follows_the_settings(database: ClickHouse) -> None:
    def asked(**days: int) -> list[str]:
        client = clickhouse.ClickHouse(dataclasses.replace(database.config, **days))
        try:
            return schema.retention(database=client)
        finally:
            client.close()

    assert asked() == []
    wanted = asked(raw_kept_days=36_500, daily_kept_days=36_500)
    assert [" ".join(statement.split()) for statement in wanted] == [
        "ALTER TABLE sms_events MODIFY TTL minute + toIntervalDay(36500)",
        "ALTER TABLE sms_days MODIFY TTL day + toIntervalDay(36500)",
    ]
    try:
        for statement in wanted:
            database.execute(statement)
        assert asked(raw_kept_days=36_500, daily_kept_days=36_500) == []
        assert len(asked(raw_kept_days=36_500)) == 1
    finally:
        for statement in asked():
            database.execute(statement)
    assert asked() == []
