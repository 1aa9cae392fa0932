"""Who calls the reporting API, and for which customer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from apps.customers.authentication import CustomerView
from apps.reporting.views.session import session_holder
from smsgateway.http import query


class ReportView(CustomerView):
    """A view of the reporting API. Its caller is known by an API key or, without one, by the dashboard's session."""

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        if not settings.CONFIG.api.ignores_keys and "HTTP_AUTHORIZATION" not in request.META:
            self.speaks_for = session_holder(request)
        if self.speaks_for is None:
            super().initial(request, *args, **kwargs)

    def finalize_response(  # type: ignore[override]
        self, request: HttpRequest, response: HttpResponse, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        response["Cache-Control"] = "no-store"
        return super().finalize_response(request, response, *args, **kwargs)

    def customer(self, params: query.Query, *, required: bool = True) -> UUID | None:
        """The customer in question: `customer_id`, or by default the caller.

        None if there is neither; if `required`, that is recorded as an error. Raises WrongCustomer.
        """
        customer_id = params.read("customer_id", query.ulid)
        if customer_id is not None:
            self.require(customer_id)
        elif not params.has("customer_id"):
            customer_id = self.speaks_for
            if customer_id is None and required:
                params.require("customer_id")
        return customer_id
