"""Who asks, and about whom."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from apps.customers.authentication import CustomerView
from apps.reporting.views.session import session_holder
from smsgateway.http import query


class ReportView(CustomerView):
    """A view of the statistics. Whom it speaks for, the key tells or the dashboard's session; a key goes first."""

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        if settings.CONFIG.api.keys != "off" and "HTTP_AUTHORIZATION" not in request.META:
            self.speaks_for = session_holder(request)
        if self.speaks_for is None:
            super().initial(request, *args, **kwargs)

    def finalize_response(  # type: ignore[override]
        self, request: HttpRequest, response: HttpResponse, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        response["Cache-Control"] = "no-store"
        return super().finalize_response(request, response, *args, **kwargs)

    def customer(self, asked: query.Query, *, required: bool = True) -> UUID | None:
        """Whom the question is about: `customer_id`, or the caller itself.

        None if neither is told, which is refused where it is `required`. Raises WrongCustomer.
        """
        customer_id = asked.read("customer_id", query.ulid)
        if customer_id is not None:
            self.require(customer_id)
        elif not asked.has("customer_id"):
            customer_id = self.speaks_for
            if customer_id is None and required:
                asked.require("customer_id")
        return customer_id
