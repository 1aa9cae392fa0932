"""Export of messages as a file."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final, cast
from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse

from apps.reporting import openapi
from apps.reporting.errors import HttpVersionTooOld
from apps.reporting.export.formats import FORMATS, GZIP
from apps.reporting.export.messages import Selection
from apps.reporting.export.streaming import Export
from apps.reporting.views import parameters
from apps.reporting.views.access import ReportView
from smsgateway import clickhouse, ids
from smsgateway.http import paging, query

_KNOWN: Final = ("customer_id", "format", "from", "to", "status", "operator", "gzip")
_REFUSES_GZIP: Final = re.compile(r"gzip\s*;\s*q\s*=\s*0(\.0*)?\s*(,|$)")


class ExportView(ReportView):
    """`GET /v1/export`"""

    @openapi.EXPORT
    def get(self, request: HttpRequest) -> StreamingHttpResponse:
        params = query.Query(request.GET, known=_KNOWN)
        customer_id = self.customer(params)
        form = FORMATS[params.read("format", query.one_of(FORMATS)) or "csv"]
        span = parameters.read_recent_range(params, longest=paging.LONGEST, usual=paging.USUAL)
        status = params.read("status", parameters.filters["status"])
        operator = params.read("operator", parameters.operator)
        as_gzip = params.read("gzip", parameters.yes_or_no) == "1"
        if as_gzip and form.is_compressed:
            params.refuse("gzip", "invalid", f"must not be set for {form.name}, which is already compressed")
        params.check()
        encoded = not as_gzip and not form.is_compressed and _accepts_gzip(request)
        if request.META.get("SERVER_PROTOCOL") == "HTTP/1.0" and not (as_gzip or encoded or form.is_compressed):
            raise HttpVersionTooOld(
                "Over HTTP/1.0 a client cannot detect a file that was cut short. Use HTTP/1.1, also in a proxy "
                "(nginx: proxy_http_version 1.1), or add gzip=1."
            )
        since, until = cast(parameters.Range, span)
        wanted = {"status": status, "operator": operator}
        selection = Selection(
            customer_id=cast(UUID, customer_id),
            customer_text=ids.to_text(cast(UUID, customer_id)),
            since=since,
            until=until,
            filters={name: value for name, value in wanted.items() if value is not None},
        )
        export = Export(database=clickhouse.default(), selection=selection, form=form, gzip=as_gzip or encoded)
        response = StreamingHttpResponse(export, content_type=GZIP if as_gzip else form.media_type)
        name = f"messages-{_stamp(since)}-{_stamp(until)}.{form.name}{'.gz' if as_gzip else ''}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["Vary"] = "Accept-Encoding"
        response["X-Accel-Buffering"] = "no"  # nginx would otherwise buffer the file on disk
        if encoded:
            response["Content-Encoding"] = "gzip"
        return response


def _accepts_gzip(request: HttpRequest) -> bool:
    accepted = request.META.get("HTTP_ACCEPT_ENCODING", "").lower()
    return "gzip" in accepted and not _REFUSES_GZIP.search(accepted)


def _stamp(moment: dt.datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%SZ}"
