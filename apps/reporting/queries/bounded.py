"""Queries ClickHouse for a caller of the API, within REPORTING_QUERY_TIMEOUT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from apps.reporting.errors import QueryTooSlow
from smsgateway.clickhouse import ClickHouse, ClickHouseTooSlow, ClickHouseUnavailable
from smsgateway.errors import StatisticsUnavailable


def bounded_query(database: ClickHouse, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows. Raises QueryTooSlow, or StatisticsUnavailable if ClickHouse does not answer."""
    seconds = settings.CONFIG.reporting.query_timeout
    try:
        return database.query(sql, parameters, seconds=seconds)
    except ClickHouseTooSlow as error:
        raise QueryTooSlow(f"It was stopped after {seconds} seconds. Choose a shorter range.") from error
    except ClickHouseUnavailable as error:
        raise StatisticsUnavailable("Try again shortly.") from error
