"""Who a request speaks for: with an API key for its customer alone, where keys are not asked for, for anybody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest

from apps.customers import keys
from apps.customers.errors import InvalidApiKey, WrongCustomer
from smsgateway.http.views import JsonView


class CustomerView(JsonView):
    """A view of one customer's things. `speaks_for` is the key's customer, or None where no key is asked for."""

    speaks_for: UUID | None = None

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.speaks_for = _key_holder(request.META.get("HTTP_AUTHORIZATION"))

    def may_see(self, customer_id: UUID) -> bool:
        """Whether what belongs to this customer is the caller's to see."""
        return self.speaks_for is None or self.speaks_for == customer_id

    def require(self, customer_id: UUID) -> None:
        """Raises WrongCustomer if the caller's key is another customer's."""
        if not self.may_see(customer_id):
            raise WrongCustomer("A key speaks for its own customer alone.")


def _key_holder(authorization: str | None) -> UUID | None:
    config = settings.CONFIG.api
    if config.keys == "off" or (authorization is None and config.keys == "optional"):
        return None
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidApiKey("Send your key as Authorization: Bearer sgw_….")
    return keys.customer_of(text=text.strip(), cache_seconds=config.keys_cache)
