"""The operations on callback endpoints, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Final

from apps.customers.errors import CallbackEndpointNotFound, CustomerNotFound, InvalidApiKey, WrongCustomer
from apps.customers.requests import Endpoint, EndpointRequest, RotatedSecret
from smsgateway.http.openapi import operation

_TAG: Final = "callbacks"
_OF_CUSTOMER: Final = (InvalidApiKey, WrongCustomer, CustomerNotFound)

GET: Final = operation(
    "getCallbackEndpoint",
    "Get a customer's callback endpoint",
    answer=Endpoint,
    problems_of=(*_OF_CUSTOMER, CallbackEndpointNotFound),
    tag=_TAG,
)
PUT: Final = operation(
    "setCallbackEndpoint",
    "Set a customer's callback endpoint, and enable it",
    body=EndpointRequest,
    answer=Endpoint,
    problems_of=_OF_CUSTOMER,
    tag=_TAG,
)
ROTATE: Final = operation(
    "rotateCallbackSecret",
    "Make a new secret",
    description="The previous secret signs as well for 24 hours.",
    answer=RotatedSecret,
    problems_of=_OF_CUSTOMER,
    tag=_TAG,
)
