"""The operations on callbacks, and the callbacks themselves as webhooks."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from apps.customers.errors import (
    CallbackEndpointDisabled,
    CallbackEndpointNotFound,
    CustomerNotFound,
    InvalidApiKey,
    WrongCustomer,
)
from apps.sms.callbacks.schemas import (
    CallbackEntry,
    CallbacksAnswer,
    MessageEventType,
)
from apps.sms.errors import CallbackNotFound
from apps.sms.models import Callback
from apps.sms.views.openapi.examples import CUSTOMER_ID, MESSAGE_EXAMPLE
from apps.sms.views.openapi.schemas import MessageAnswer
from smsgateway import ids
from smsgateway.http.openapi import PAGE, Amount, Currency, Moment, Ulid, operation, query_parameter, webhook


class MessageEvent(msgspec.Struct):
    """A message reached the status in `type` at `timestamp`. `data`: the message at the time of sending."""

    type: MessageEventType
    timestamp: Moment
    data: MessageAnswer


class LowBalance(msgspec.Struct):
    """The balance and the threshold that it fell below."""

    customer_id: Ulid
    balance: Amount
    threshold: Amount
    currency: Currency


class BalanceEvent(msgspec.Struct):
    """The balance fell below its threshold."""

    type: Literal["balance.low"]
    timestamp: Moment
    data: LowBalance


class TestedCustomer(msgspec.Struct):
    """The customer whose endpoint is tested."""

    customer_id: Ulid


class TestEvent(msgspec.Struct):
    """A test of the endpoint."""

    type: Literal["callback.test"]
    timestamp: Moment
    data: TestedCustomer


webhook(
    "messageStatus",
    "A message reached a status",
    description="Sent for each status that the customer's endpoint asks for, to the message's own `callback_url` or "
    "the endpoint. Events are sent at least once, in any order.",
    event=MessageEvent,
    example={"type": "message.delivered", "timestamp": "2026-11-24T08:00:04.812Z", "data": MESSAGE_EXAMPLE},
)
webhook(
    "balanceLow",
    "The balance fell below its threshold",
    description="Sent to the endpoint once, and again after a top-up. The endpoint's `statuses` do not filter it.",
    event=BalanceEvent,
    example={
        "type": "balance.low",
        "timestamp": "2026-11-24T08:00:04.812Z",
        "data": {"customer_id": CUSTOMER_ID, "balance": 900, "threshold": 1000, "currency": "IRR"},
    },
)
webhook(
    "callbackTest",
    "A test of the endpoint",
    description="Sent when the customer asks for a test.",
    event=TestEvent,
    example={
        "type": "callback.test",
        "timestamp": "2026-11-24T08:00:04.812Z",
        "data": {"customer_id": CUSTOMER_ID},
    },
)

_TAG: Final = "callbacks"
_OF_CUSTOMER: Final = (InvalidApiKey, WrongCustomer, CustomerNotFound)

TEST: Final = operation(
    "testCallbackEndpoint",
    "Send a test event",
    answer=CallbackEntry,
    problems_of=(*_OF_CUSTOMER, CallbackEndpointNotFound, CallbackEndpointDisabled),
    links={"replay": {"operationId": "replayCallback", "parameters": {"callback_id": "$response.body#/id"}}},
    tag=_TAG,
)
LIST: Final = operation(
    "listCallbacks",
    "List a customer's callbacks and their last tries, the newest first",
    answer=CallbacksAnswer,
    problems_of=_OF_CUSTOMER,
    parameters=[
        query_parameter(
            "message_id", "Only the callbacks of this message.", {"type": "string", "pattern": ids.PATTERN}
        ),
        query_parameter(
            "status", "The status of the callback.", {"type": "string", "enum": list(Callback.Status.values)}
        ),
        *PAGE,
    ],
    tag=_TAG,
)
REPLAY: Final = operation(
    "replayCallback",
    "Send a callback again, with the same id",
    answer=CallbackEntry,
    problems_of=(InvalidApiKey, CallbackNotFound, CallbackEndpointNotFound, CallbackEndpointDisabled),
    tag=_TAG,
)
