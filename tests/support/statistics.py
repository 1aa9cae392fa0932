"""Statistics as the reporting API reads them from ClickHouse."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from apps.reporting.queries import intervals
from apps.reporting.queries import stats as selectors
from smsgateway.clickhouse import ClickHouse
from tests.support.events import MORNING

DAY = dt.timedelta(days=1)


def stats_of(
    database: ClickHouse,
    customer: UUID,
    *,
    interval: intervals.Interval = intervals.MINUTE,
    since: dt.datetime = MORNING - DAY,
    until: dt.datetime = MORNING + DAY,
    operator: str = "",
) -> list[dict[str, Any]]:
    return selectors.stats(
        database=database, interval=interval, customer_id=customer, since=since, until=until, operator=operator
    )


def nonzero_totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The totals that are not zero."""
    return {name: value for name, value in selectors.totals(rows).items() if value}
