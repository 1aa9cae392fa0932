"""Django's settings of the database, from ours."""

from __future__ import annotations

from typing import Any

from smsgateway.config.database import parameters
from smsgateway.config.settings import Database


def database_settings(database: Database) -> dict[str, Any]:
    """Django's settings of the database. Options in the URL take precedence over ours."""
    try:
        given = parameters(database.url)
    except ValueError:  # reported as a problem of DATABASE_URL; nothing connects then
        given = {}
    ours = {
        "connect_timeout": str(database.connect_timeout),
        "application_name": "smsgateway",
    }
    bounds = (
        f"-c lock_timeout={database.lock_timeout}"
        f" -c statement_timeout={database.statement_timeout}"
        " -c idle_in_transaction_session_timeout=60000"
    )
    pool = {"min_size": 1, "max_size": database.pool_size, "timeout": database.connect_timeout}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": given.pop("dbname", "unset"),
        "USER": given.pop("user", ""),
        "PASSWORD": given.pop("password", ""),
        "HOST": given.pop("host", ""),
        "PORT": given.pop("port", ""),
        "CONN_MAX_AGE": 0 if database.pool_size else None,
        "CONN_HEALTH_CHECKS": False,
        "OPTIONS": {
            # Server-side binding and preparing a statement at its second use save planning time.
            "server_side_binding": True,
            "prepare_threshold": 1,
            **ours,
            **given,
            "options": f"{bounds} {given.get('options', '')}".rstrip(),
            **({"pool": pool} if database.pool_size else {}),
        },
    }
