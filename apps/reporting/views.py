"""The reporting API: statistics of one customer."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpRequest
from rest_framework.response import Response

from apps.reporting import selectors
from apps.reporting.parameters import StatsParameters
from smsgateway import clickhouse, ids
from smsgateway.http import JsonView


class StatsView(JsonView):
    """GET: rows by time and operator, oldest first, and their totals."""

    interval: ClassVar[selectors.Interval]

    def get(self, request: HttpRequest) -> Response:
        asked = StatsParameters.read(request.GET, interval=self.interval)
        rows = selectors.stats(
            database=clickhouse.default(),
            interval=self.interval,
            customer_id=asked.customer_id,
            since=asked.since,
            until=asked.until,
            operator=asked.operator,
        )
        return Response(
            {
                "customer_id": ids.to_text(asked.customer_id),
                "from": asked.since,
                "to": asked.until,
                "interval": self.interval.name,
                "rows": rows,
                "totals": selectors.totals(rows),
            }
        )


class MinuteStatsView(StatsView):
    interval = selectors.MINUTE


class DailyStatsView(StatsView):
    interval = selectors.DAY
