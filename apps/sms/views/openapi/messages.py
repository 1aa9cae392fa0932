"""The operations on messages: send, batch, estimate, list, read and cancel."""

from __future__ import annotations

from typing import Any, Final

from apps.balance.errors import InsufficientBalance
from apps.customers.errors import CustomerNotFound, CustomerSuspended, InvalidApiKey, RateLimited, WrongCustomer
from apps.sms.accept.requests import BatchRequest, BroadcastRequest, SendRequest
from apps.sms.errors import (
    IdempotencyKeyReused,
    MessageArchived,
    MessageNotFound,
    NotCancelable,
    RequestInProgress,
)
from apps.sms.views.openapi.examples import (
    ACCEPTED,
    CUSTOMER_ID,
    LISTED,
    MANY,
    MESSAGE_EXAMPLE,
    MESSAGE_ID,
    ONE_TEXT,
    REFUSED,
    request_example,
    response_example,
)
from apps.sms.views.openapi.schemas import (
    BatchAnswer,
    CancelAnswer,
    EstimateAnswer,
    MessageAnswer,
    MessagesAnswer,
    SendAnswer,
)
from smsgateway import ids
from smsgateway.errors import PartitionMissing
from smsgateway.http.openapi import (
    IDEMPOTENCY_KEY,
    IDEMPOTENT_REPLAYED,
    PAGE,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
    one_of,
    operation,
    query_parameter,
)

_BATCH: Final = one_of("BatchBody", "Many messages, or one text to many recipients.", BatchRequest, BroadcastRequest)
_ONE_BY_ONE: Final = (
    "Items are checked one by one: a wrong item, also one of the wrong type, is refused alone, with its `errors`. The "
    "whole request is refused if anything beside the items is wrong."
)
_ULID: Final = {"type": "string", "pattern": ids.PATTERN}
_STATUS: Final = {"$ref": "#/components/schemas/MessageStatus"}
_ACCESS: Final = (InvalidApiKey, WrongCustomer)
_CHARGE: Final = (
    *_ACCESS,
    CustomerNotFound,
    CustomerSuspended,
    InsufficientBalance,
    IdempotencyKeyReused,
    RequestInProgress,
    RateLimited,
    PartitionMissing,
)


def _of_message(operation_id: str) -> dict[str, Any]:
    return {"operationId": operation_id, "parameters": {"message_id": "$response.body#/id"}}


SEND: Final = operation(
    "sendMessage",
    "Send one message",
    description="Charges the customer and stores the message, then answers. A worker submits it to an operator later.",
    body=SendRequest,
    answer=SendAnswer,
    answers=[response_example("accepted", ACCEPTED | {"balance": 4900})],
    problems_of=_CHARGE,
    parameters=[IDEMPOTENCY_KEY],
    headers=[RATE_LIMIT_POLICY, RATE_LIMIT, IDEMPOTENT_REPLAYED],
    examples=[
        request_example("plain", {"customer_id": CUSTOMER_ID, "to": "09121234567", "text": "Your code is 1234"}),
        request_example(
            "scheduled",
            {
                "customer_id": CUSTOMER_ID,
                "to": "+989351234567",
                "text": "Good morning!",
                "from": "Shop",
                "send_at": "2030-01-31T08:00:00+03:30",
                "valid_for": 3600,
                "priority": "bulk",
                "reference": "order 17",
            },
        ),
    ],
    links={"message": _of_message("getMessage"), "cancel": _of_message("cancelMessage")},
)
BATCH: Final = operation(
    "sendBatch",
    "Send many messages, or one text to many",
    description=f"Charges and stores all valid messages in one transaction. {_ONE_BY_ONE}",
    body=_BATCH,
    answer=BatchAnswer,
    answers=[
        response_example(
            "one of two",
            {
                "accepted": 1,
                "refused": 1,
                "cost": 100,
                "results": [{"index": 0, **ACCEPTED}, REFUSED],
                "balance": 4900,
            },
        )
    ],
    problems_of=_CHARGE,
    parameters=[IDEMPOTENCY_KEY],
    headers=[RATE_LIMIT_POLICY, RATE_LIMIT, IDEMPOTENT_REPLAYED],
    examples=[MANY, ONE_TEXT],
    links={
        "message": {"operationId": "getMessage", "parameters": {"message_id": "$response.body#/results/0/id"}},
    },
)
ESTIMATE: Final = operation(
    "estimateCost",
    "Estimate what a batch would cost",
    description=f"Takes the body of a batch; nothing is charged or sent. {_ONE_BY_ONE}",
    body=_BATCH,
    answer=EstimateAnswer,
    answers=[
        response_example(
            "one message",
            {
                "cost": 60,
                "currency": "IRR",
                "balance": 4900,
                "results": [
                    {
                        "index": 0,
                        "status": "valid",
                        "to": "+989351234567",
                        "encoding": "ucs2",
                        "segments": 2,
                        "cost": 60,
                        "operator": "irancell",
                    }
                ],
            },
        )
    ],
    problems_of=(*_ACCESS, CustomerNotFound),
    examples=[MANY, ONE_TEXT],
)
LIST: Final = operation(
    "listMessages",
    "List a customer's messages, the newest first",
    answer=MessagesAnswer,
    answers=[response_example("the last page", {"messages": [LISTED], "next_cursor": None})],
    problems_of=(*_ACCESS, CustomerNotFound),
    parameters=[
        query_parameter("customer_id", "The customer. With an API key it may be omitted.", _ULID),
        query_parameter("status", "The current status.", _STATUS),
        query_parameter("recipient", "A mobile number."),
        query_parameter("reference", "Your own.", {"type": "string", "minLength": 1, "maxLength": 200}),
        *PAGE,
    ],
)
MESSAGE: Final = operation(
    "getMessage",
    "Get a message with its status history",
    answer=MessageAnswer,
    answers=[response_example("delivered", MESSAGE_EXAMPLE)],
    problems_of=(InvalidApiKey, MessageNotFound, MessageArchived),
)
CANCEL: Final = operation(
    "cancelMessage",
    "Cancel a scheduled message",
    description="The message is not sent, and its cost is refunded. Repeating the request changes nothing.",
    answer=CancelAnswer,
    answers=[response_example("canceled", {"id": MESSAGE_ID, "status": "canceled", "refunded": 100, "balance": 5000})],
    problems_of=(InvalidApiKey, MessageNotFound, MessageArchived, NotCancelable, PartitionMissing),
    links={"message": _of_message("getMessage")},
)
