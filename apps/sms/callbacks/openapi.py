"""How the operations on callbacks are described in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from apps.customers.errors import (
    CallbackEndpointDisabled,
    CallbackEndpointNotFound,
    CustomerNotFound,
    InvalidApiKey,
    WrongCustomer,
)
from apps.sms.callbacks.requests import CallbacksAnswer, CallbackTold, Endpoint, EndpointRequest, RotatedSecret
from apps.sms.errors import CallbackNotFound
from apps.sms.models import Callback
from apps.sms.requests import ULID_PATTERN
from smsgateway.openapi import PAGE, operation, query_parameter

_TAG: Final = "callbacks"
_OF_CUSTOMER: Final = (InvalidApiKey, WrongCustomer, CustomerNotFound)

GET: Final = operation(
    "callback-endpoint",
    "Where a customer is called",
    answer=Endpoint,
    problems_of=(*_OF_CUSTOMER, CallbackEndpointNotFound),
    tag=_TAG,
)
PUT: Final = operation(
    "set-callback-endpoint",
    "Set where a customer is called, and enable it",
    body=[EndpointRequest],
    answer=Endpoint,
    problems_of=_OF_CUSTOMER,
    tag=_TAG,
)
ROTATE: Final = operation(
    "rotate-callback-secret",
    "A new secret; the one before signs as well for 24 hours",
    answer=RotatedSecret,
    problems_of=_OF_CUSTOMER,
    tag=_TAG,
)
TEST: Final = operation(
    "test-callback-endpoint",
    "Send a test event",
    answer=CallbackTold,
    problems_of=(*_OF_CUSTOMER, CallbackEndpointNotFound, CallbackEndpointDisabled),
    tag=_TAG,
)
LIST: Final = operation(
    "callbacks",
    "A customer's callbacks and what came of them, the newest first",
    answer=CallbacksAnswer,
    problems_of=_OF_CUSTOMER,
    parameters=[
        query_parameter("message_id", "Those of one message.", {"type": "string", "pattern": ULID_PATTERN}),
        query_parameter("status", "The callback's own.", {"type": "string", "enum": list(Callback.Status.values)}),
        *PAGE,
    ],
    tag=_TAG,
)
REPLAY: Final = operation(
    "replay-callback",
    "Send a callback again, with the same id",
    answer=CallbackTold,
    problems_of=(InvalidApiKey, CallbackNotFound, CallbackEndpointNotFound, CallbackEndpointDisabled),
    tag=_TAG,
)
