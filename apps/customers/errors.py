"""The errors about customers, their API keys, rate limits and callback endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsgateway.errors import GatewayError

if TYPE_CHECKING:
    from apps.customers.allowance import Allowance


class CustomerNotFound(GatewayError):
    """There is no such customer"""

    code = "customer_not_found"
    status = 404


class CustomerSuspended(GatewayError):
    """The customer is suspended and may not send"""

    code = "customer_suspended"
    status = 403


class InvalidApiKey(GatewayError):
    """The API key is missing, unknown or revoked"""

    code = "invalid_api_key"
    status = 401


class WrongCustomer(GatewayError):
    """The API key belongs to another customer"""

    code = "wrong_customer"
    status = 403


class ApiKeyNotFound(GatewayError):
    """There is no such API key"""

    code = "api_key_not_found"
    status = 404


class ApiKeyExists(GatewayError):
    """This API key was created before"""

    code = "api_key_exists"
    status = 409


class RateLimited(GatewayError):
    """The customer sends faster than it may; nothing was charged"""

    code = "rate_limited"
    status = 429
    retryable = True

    def __init__(self, detail: str, *, allowance: Allowance, retry_after: int) -> None:
        """`retry_after`: seconds until the request would be accepted, if nothing else is sent meanwhile."""
        super().__init__(detail)
        self.allowance = allowance
        self.headers = {**allowance.headers(), "Retry-After": str(retry_after)}


class MoreThanLimit(Exception):
    """A request has more messages than its customer may send in a minute, so waiting does not help."""

    def __init__(self, *, messages: int, limit: int) -> None:
        super().__init__()
        self.messages = messages
        self.limit = limit


class CallbackEndpointNotFound(GatewayError):
    """The customer has no callback endpoint"""

    code = "callback_endpoint_not_found"
    status = 404


class CallbackEndpointDisabled(GatewayError):
    """The customer's callback endpoint is disabled"""

    code = "callback_endpoint_disabled"
    status = 409
