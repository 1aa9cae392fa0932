"""Authenticates requests. An API key gives access to its customer only; without keys, any request has access to all."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest

from apps.customers import keys
from apps.customers.errors import InvalidApiKey, WrongCustomer
from smsgateway.http.views import JsonView


class CustomerView(JsonView):
    """A view of one customer's data. `speaks_for`: the API key's customer, or None if no key is required."""

    speaks_for: UUID | None = None

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.speaks_for = _key_holder(request.META.get("HTTP_AUTHORIZATION"))

    def may_see(self, customer_id: UUID) -> bool:
        """True if the caller has access to this customer's data."""
        return self.speaks_for is None or self.speaks_for == customer_id

    def require(self, customer_id: UUID) -> None:
        """Raises WrongCustomer if the caller's key belongs to another customer."""
        if not self.may_see(customer_id):
            raise WrongCustomer("A key gives access to its own customer only.")


def _key_holder(authorization: str | None) -> UUID | None:
    config = settings.CONFIG.api
    if config.ignores_keys or (authorization is None and not config.requires_keys):
        return None
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidApiKey("Send your key as Authorization: Bearer sgw_….")
    return keys.customer_of(text=text.strip(), cache_seconds=config.keys_cache)
