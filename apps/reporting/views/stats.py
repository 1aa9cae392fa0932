"""Statistics by the minute and the day, and summaries."""

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
        asked = query.Query(request.GET, known=_STATS)
        customer_id = self.customer(asked)
        zone = parameters.read_zone(asked)
        span = parameters.read_range(asked, longest=self.interval.limit(zone), zone=zone)
        operator = asked.read("operator", parameters.operator) or ""
        fill = asked.read("fill", parameters.yes_or_no) == "1"
        asked.check()
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
    """`GET /v1/stats/summary`: what the messages of a range come to, in any grouping."""

    @openapi.SUMMARY
    def get(self, request: HttpRequest) -> Response:
        question = self._question(request)
        rows, more = summary.summary(database=clickhouse.default(), question=question)
        answer: dict[str, Any] = {
            "customer_id": question.customer_id and ids.to_text(question.customer_id),
            "from": question.since,
            "to": question.until,
            "group_by": question.group_by,
            "rows": rows,
            "truncated": more,
        }
        return Response(answer)

    def _question(self, request: HttpRequest) -> summary.Question:
        asked = query.Query(request.GET, known=_SUMMARY)
        customer_id = self.customer(asked, required=False)
        zone = parameters.read_zone(asked)
        group_by = asked.read("group_by", query.some_of(summary.GROUPINGS)) or ()
        if len(set(group_by) & summary.TIMES.keys()) > 1:
            asked.refuse("group_by", "invalid", f"may have one of {', '.join(summary.TIMES)} only")
        read = {name: asked.read(name, parameters.filters[name]) for name in summary.FILTERS}
        fill = asked.read("fill", parameters.yes_or_no) == "1"
        if fill and not set(group_by) & summary.TIMES.keys():
            asked.refuse("fill", "invalid", f"needs one of {', '.join(summary.TIMES)} in group_by")
        delays = asked.read("delays", parameters.yes_or_no) == "1"
        filters = {name: value for name, value in read.items() if value is not None}
        empty = dt.datetime.fromtimestamp(0, tz=dt.UTC)
        question = summary.Question(
            since=empty,
            until=empty,
            customer_id=customer_id,
            group_by=group_by,
            filters=filters,
            zone=zone,
            fill=fill,
            delays=delays,
        )
        span = parameters.read_range(asked, longest=question.longest, zone=zone)
        for bound, moment in zip(parameters.RANGE, span or (), strict=False):
            if moment.second or moment.microsecond:
                asked.refuse(bound, "invalid", "must be a whole minute")
        asked.check()
        since, until = cast(parameters.Range, span)
        return dataclasses.replace(question, since=since, until=until)
