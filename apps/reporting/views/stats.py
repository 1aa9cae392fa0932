"""Statistics per minute and per day, and summaries."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, ClassVar, cast
from uuid import UUID

from django.http import HttpRequest
from rest_framework.response import Response

from apps.reporting import openapi
from apps.reporting.queries import intervals, summary
from apps.reporting.queries import stats as selectors
from apps.reporting.views import parameters
from apps.reporting.views.access import ReportView
from smsgateway import clickhouse, ids
from smsgateway.http import query

_STATS = ("customer_id", "from", "to", "operator", "tz", "fill")
_SUMMARY = ("customer_id", "from", "to", "group_by", *summary.FILTERS, "tz", "fill", "delays")


class StatsView(ReportView):
    """GET: rows by time and operator, oldest first, and their totals."""

    interval: ClassVar[intervals.Interval]

    def answer(self, request: HttpRequest) -> Response:
        params = query.Query(request.GET, known=_STATS)
        customer_id = self.customer(params)
        zone = parameters.read_zone(params)
        span = parameters.read_range(params, longest=self.interval.limit(zone), zone=zone)
        operator = params.read("operator", parameters.operator) or ""
        fill = params.read("fill", parameters.yes_or_no) == "1"
        params.check()
        since, until = cast(parameters.Range, span)
        rows = selectors.stats(
            database=clickhouse.default(),
            interval=self.interval,
            customer_id=cast(UUID, customer_id),
            since=since,
            until=until,
            operator=operator,
            zone=zone,
            fill=fill,
        )
        return Response(
            {
                "customer_id": ids.to_text(cast(UUID, customer_id)),
                "from": since,
                "to": until,
                "interval": self.interval.name,
                "rows": rows,
                "totals": selectors.totals(rows),
            }
        )


class MinuteStatsView(StatsView):
    """`GET /v1/stats/minute`"""

    interval = intervals.MINUTE

    @openapi.MINUTE
    def get(self, request: HttpRequest) -> Response:
        return self.answer(request)


class DailyStatsView(StatsView):
    """`GET /v1/stats/daily`"""

    interval = intervals.DAY

    @openapi.DAILY
    def get(self, request: HttpRequest) -> Response:
        return self.answer(request)


class SummaryView(ReportView):
    """`GET /v1/stats/summary`: counts of the messages in a range, by any grouping."""

    @openapi.SUMMARY
    def get(self, request: HttpRequest) -> Response:
        spec = self._spec(request)
        rows, is_truncated = summary.summary(database=clickhouse.default(), spec=spec)
        answer: dict[str, Any] = {
            "customer_id": spec.customer_id and ids.to_text(spec.customer_id),
            "from": spec.since,
            "to": spec.until,
            "group_by": spec.group_by,
            "rows": rows,
            "truncated": is_truncated,
        }
        return Response(answer)

    def _spec(self, request: HttpRequest) -> summary.SummarySpec:
        params = query.Query(request.GET, known=_SUMMARY)
        customer_id = self.customer(params, required=False)
        zone = parameters.read_zone(params)
        group_by = params.read("group_by", query.some_of(summary.GROUPINGS)) or ()
        if len(set(group_by) & summary.TIMES.keys()) > 1:
            params.refuse("group_by", "invalid", f"may have only one of {', '.join(summary.TIMES)}")
        read = {name: params.read(name, parameters.filters[name]) for name in summary.FILTERS}
        fill = params.read("fill", parameters.yes_or_no) == "1"
        if fill and not set(group_by) & summary.TIMES.keys():
            params.refuse("fill", "invalid", f"needs one of {', '.join(summary.TIMES)} in group_by")
        delays = params.read("delays", parameters.yes_or_no) == "1"
        filters = {name: value for name, value in read.items() if value is not None}
        empty = dt.datetime.fromtimestamp(0, tz=dt.UTC)
        spec = summary.SummarySpec(
            since=empty,
            until=empty,
            customer_id=customer_id,
            group_by=group_by,
            filters=filters,
            zone=zone,
            fill=fill,
            delays=delays,
        )
        span = parameters.read_range(params, longest=spec.longest, zone=zone)
        for bound, moment in zip(parameters.RANGE, span or (), strict=False):
            if moment.second or moment.microsecond:
                params.refuse(bound, "invalid", "must be a whole minute")
        params.check()
        since, until = cast(parameters.Range, span)
        return dataclasses.replace(spec, since=since, until=until)
