"""A customer's monthly statement."""

from __future__ import annotations

import datetime as dt
from typing import Final, cast
from uuid import UUID

from django.http import HttpRequest
from rest_framework.response import Response

from apps.balance.statement import statement
from apps.reporting import openapi
from apps.reporting.views import parameters
from apps.reporting.views.access import ReportView
from smsgateway import ids
from smsgateway.http import query

_month: Final = query.matching(r"(19[7-9]\d|20\d\d)-(0[1-9]|1[0-2])", "a month, such as 2026-11")


class StatementView(ReportView):
    """`GET /v1/customers/{id}/statement?month=2026-11`: from the ledger, in PostgreSQL."""

    @openapi.STATEMENT
    def get(self, request: HttpRequest, customer_id: UUID) -> Response:
        self.require(customer_id)
        params = query.Query(request.GET, known=("month", "tz"))
        params.require("month")
        zone = parameters.read_zone(params)
        month = params.read("month", _month)
        now = dt.datetime.now(tz=dt.UTC)
        first = dt.datetime.fromisoformat(f"{month or '1970-01'}-01").replace(tzinfo=zone)
        if first > now:
            params.refuse("month", "invalid", "has not begun yet")
        params.check()
        following = (first.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
        since, until = first.astimezone(dt.UTC), following.astimezone(dt.UTC)
        found = statement(customer_id=customer_id, since=since, until=until)
        return Response(
            {
                "customer_id": ids.to_text(customer_id),
                "month": cast(str, month),
                "tz": zone.key,
                "from": since,
                "to": until,
                "complete": until <= now,
                "currency": found.currency,
                "opening_balance": found.opening,
                "movements": [{"kind": kind, **moved._asdict()} for kind, moved in found.moved.items()],
                "closing_balance": found.closing,
            }
        )
