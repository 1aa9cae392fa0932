"""The test's database: its address, and who waits in it for a lock."""

from __future__ import annotations

from urllib.parse import quote

from django.db import connection


def database_url() -> str:
    """The address of the database that this test runs on."""
    found = {name: quote(str(connection.settings_dict[name]), safe="") for name in ("USER", "PASSWORD", "HOST", "NAME")}
    port = f":{connection.settings_dict['PORT']}" if connection.settings_dict["PORT"] else ""
    return f"postgres://{found['USER']}:{found['PASSWORD']}@{found['HOST']}{port}/{found['NAME']}"


def wait_until_blocked(count: int) -> None:
    """Return when `count` connections of this test wait for a lock."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with connection.cursor() as cursor:
        for _ in range(10_000):
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(blocked)
            if cursor.fetchone()[0] >= count:
                return
    raise AssertionError("the clients did not come to wait for the lock")
