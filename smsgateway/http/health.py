"""Health and readiness of the HTTP services."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse

from smsgateway import clickhouse, json, partitions


def healthz(_request: HttpRequest) -> HttpResponse:
    """200 as long as the process responds."""
    return _answer({"process": "ok"})


def readyz(_request: HttpRequest) -> HttpResponse:
    """200 if the service can work now, else 503 with what is missing."""
    probes = _API
    if settings.CONFIG.general.service == "reporting":
        probes = _REPORTING if settings.CONFIG.api.ignores_keys else _REPORTING | {"database": _database}
    return _answer({name: probe() for name, probe in probes.items()})


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        connection.close()
        return f"unreachable: {str(error).strip().splitlines()[0]}"
    return "ok"


def _partitions() -> str:
    """Checks that tomorrow has partitions, because an insert without one fails.

    Uses this machine's clock, as ids do: a service whose clock is far ahead is not ready either.
    """
    try:
        today = dt.datetime.now(tz=dt.UTC).date()
        lacking = [table for table, days in partitions.all_days_ahead(today=today).items() if days < 1]
    except DatabaseError:
        connection.close()
        return "unknown"
    return f"missing for {', '.join(lacking)}: run manage.py partitions apply" if lacking else "ok"


def _clickhouse() -> str:
    try:
        clickhouse.default().query("SELECT 1")
    except clickhouse.ClickHouseError as error:
        return f"unreachable: {error}"
    return "ok"


_API: dict[str, Callable[[], str]] = {"database": _database, "partitions": _partitions}
_REPORTING: dict[str, Callable[[], str]] = {"clickhouse": _clickhouse}


def _answer(checks: dict[str, str]) -> HttpResponse:
    status = 200 if all(result == "ok" for result in checks.values()) else 503
    return HttpResponse(json.encode(checks), status=status, content_type="application/json")
