"""How the operations on messages are described in the OpenAPI document."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

import msgspec
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from apps.balance.errors import InsufficientBalance
from apps.customers.errors import CustomerNotFound, CustomerSuspended, InvalidApiKey, RateLimited, WrongCustomer
from apps.sms import statuses
from apps.sms.accept.requests import BatchRequest, BroadcastRequest, SendRequest
from apps.sms.errors import (
    IdempotencyKeyReused,
    InvalidSignature,
    MessageArchived,
    MessageNotFound,
    NotCancelable,
    OperatorNotFound,
    ReceiptAddressRefused,
    RequestInProgress,
)
from apps.sms.operators.base import InvalidReceipt
from apps.sms.receipts.access import SIGNATURE_HEADER
from smsgateway import ids
from smsgateway.errors import PartitionMissing, Unauthorized
from smsgateway.http.openapi import (
    IDEMPOTENCY_KEY,
    IDEMPOTENT_REPLAYED,
    PAGE,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
    Amount,
    Currency,
    FieldFault,
    Moment,
    Ulid,
    one_of,
    operation,
    query_parameter,
)

Maybe = msgspec.UnsetType
UNSET = msgspec.UNSET


class MessageStatus(StrEnum):
    """How far a message has come."""

    ACCEPTED = statuses.ACCEPTED
    SCHEDULED = statuses.SCHEDULED
    QUEUED = statuses.QUEUED
    SUBMITTED = statuses.SUBMITTED
    UNKNOWN = statuses.UNKNOWN
    CANCELED = statuses.CANCELED
    EXPIRED = statuses.EXPIRED
    REJECTED = statuses.REJECTED
    FAILED = statuses.FAILED
    UNDELIVERED = statuses.UNDELIVERED
    DELIVERED = statuses.DELIVERED


class Encoding(StrEnum):
    """How the text is encoded: the GSM 7-bit alphabet, or UCS-2."""

    GSM7 = "gsm7"
    UCS2 = "ucs2"


class SendAnswer(msgspec.Struct):
    """The message is charged and stored. `balance`: what is left, in minor units."""

    id: Ulid
    status: Literal["accepted", "scheduled"]
    to: str
    encoding: Encoding
    segments: int
    cost: Amount
    balance: Amount
    send_at: Moment | Maybe = UNSET


class BatchResult(msgspec.Struct):
    """One item: accepted with its id, or refused with what is wrong."""

    index: int
    status: Literal["accepted", "scheduled", "refused"]
    id: Ulid | Maybe = UNSET
    to: str | Maybe = UNSET
    encoding: Encoding | Maybe = UNSET
    segments: int | Maybe = UNSET
    cost: Amount | Maybe = UNSET
    send_at: Moment | Maybe = UNSET
    errors: list[FieldFault] | Maybe = UNSET


class BatchAnswer(msgspec.Struct):
    """An answer for each item, and what all of them cost."""

    accepted: int
    refused: int
    cost: Amount
    results: list[BatchResult]
    balance: Amount


class Estimate(msgspec.Struct):
    """What one item would cost, and which way it would go."""

    index: int
    status: Literal["valid", "refused"]
    to: str | Maybe = UNSET
    encoding: Encoding | Maybe = UNSET
    segments: int | Maybe = UNSET
    cost: Amount | Maybe = UNSET
    operator: str | Maybe = UNSET
    errors: list[FieldFault] | Maybe = UNSET


class EstimateAnswer(msgspec.Struct):
    """What a batch would cost; nothing was charged."""

    cost: Amount
    currency: Currency
    balance: Amount
    results: list[Estimate]


class HistoryEntry(msgspec.Struct):
    """The message reached a status, and when. `send_at` is with `scheduled` alone."""

    status: MessageStatus
    at: Moment
    operator: str | Maybe = UNSET
    operator_message_id: str | Maybe = UNSET
    error: str | Maybe = UNSET
    attempt: int | Maybe = UNSET
    refunded: Amount | Maybe = UNSET
    send_at: Moment | Maybe = UNSET


class ListedMessage(msgspec.Struct, kw_only=True, rename={"sender": "from"}):
    """A message with its current status."""

    id: Ulid
    customer_id: Ulid
    status: MessageStatus
    accepted_at: Moment
    to: str
    sender: str
    text: str
    encoding: Encoding
    segments: int
    cost: Amount
    refunded: Amount
    operator: str
    priority: Literal["otp", "normal", "bulk"]
    reference: str
    send_at: Moment | None
    expires_at: Moment
    callback_url: str
    metadata: dict[str, str]


class MessageAnswer(ListedMessage, kw_only=True, rename={"sender": "from"}):
    """A message with its status history."""

    history: list[HistoryEntry]


class MessagesAnswer(msgspec.Struct):
    """A page of messages, the newest first; `next_cursor` brings the next page."""

    messages: list[ListedMessage]
    next_cursor: str | None


class CancelAnswer(msgspec.Struct):
    """The message is not sent; what was refunded."""

    id: Ulid
    status: Literal["canceled"]
    refunded: Amount
    balance: Amount


class ReceiptAnswer(msgspec.Struct):
    """The receipt is stored."""

    status: Literal["recorded", "ignored"]


class Receipt(msgspec.Struct):
    """An operator's receipt, in that operator's own shape."""


_BATCH: Final = one_of("BatchBody", "Many messages, or one text to many recipients.", BatchRequest, BroadcastRequest)
_ONE_BY_ONE: Final = (
    "Items are judged one by one: a wrong one, of the wrong type too, is refused by itself, with what is wrong in its "
    "`errors`. The request is refused as a whole if anything beside the items is wrong."
)
_ULID: Final = {"type": "string", "pattern": ids.PATTERN}
_STATUS: Final = {"$ref": "#/components/schemas/MessageStatus"}
_ID: Final = "01M85WEYCNSSN7STBNMSVHQ0Y8"
_CUSTOMER: Final = "01M85WEX1V5DRSABARX08QE0G2"
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


def _example(name: str, value: dict[str, Any]) -> OpenApiExample:
    return OpenApiExample(name, value, request_only=True, media_type="application/json")


def _answer(name: str, value: dict[str, Any]) -> OpenApiExample:
    return OpenApiExample(name, value, response_only=True, media_type="application/json", status_codes=["200"])


def _of_message(operation_id: str) -> dict[str, Any]:
    return {"operationId": operation_id, "parameters": {"message_id": "$response.body#/id"}}


_ACCEPTED: Final = {
    "id": _ID,
    "status": "accepted",
    "to": "+989121234567",
    "encoding": "gsm7",
    "segments": 1,
    "cost": 100,
}
_REFUSED: Final = {
    "index": 1,
    "status": "refused",
    "errors": [
        {"field": "text", "code": "empty", "reason": "The text is empty."},
    ],
}
_MANY: Final = _example("many", {"customer_id": _CUSTOMER, "messages": [{"to": "09121234567", "text": "one"}]})
_ONE_TEXT: Final = _example(
    "one text", {"customer_id": _CUSTOMER, "to": ["09121234567", "09351234567"], "text": "Sale!"}
)
_LISTED: Final = _ACCEPTED | {
    "customer_id": _CUSTOMER,
    "status": "delivered",
    "accepted_at": "2026-11-24T08:00:00.123Z",
    "from": "Shop",
    "text": "Your code is 1234",
    "refunded": 0,
    "operator": "mci",
    "priority": "otp",
    "reference": "order 17",
    "send_at": None,
    "expires_at": "2026-11-26T08:00:00.123Z",
    "callback_url": "",
    "metadata": {"campaign": "9"},
}
MESSAGE_EXAMPLE: Final = _LISTED | {
    "history": [
        {"status": "accepted", "at": "2026-11-24T08:00:00.123Z"},
        {
            "status": "submitted",
            "at": "2026-11-24T08:00:00.512Z",
            "operator": "mci",
            "operator_message_id": "7f3a9c",
        },
        {"status": "delivered", "at": "2026-11-24T08:00:04.812Z", "operator": "mci"},
    ]
}

SEND: Final = operation(
    "sendMessage",
    "Send one message",
    description="Charges the customer and stores the message, then answers. A worker submits it to an operator later.",
    body=SendRequest,
    answer=SendAnswer,
    answers=[_answer("accepted", _ACCEPTED | {"balance": 4900})],
    problems_of=_CHARGE,
    parameters=[IDEMPOTENCY_KEY],
    headers=[RATE_LIMIT_POLICY, RATE_LIMIT, IDEMPOTENT_REPLAYED],
    examples=[
        _example("plain", {"customer_id": _CUSTOMER, "to": "09121234567", "text": "Your code is 1234"}),
        _example(
            "scheduled",
            {
                "customer_id": _CUSTOMER,
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
        _answer(
            "one of two",
            {
                "accepted": 1,
                "refused": 1,
                "cost": 100,
                "results": [{"index": 0, **_ACCEPTED}, _REFUSED],
                "balance": 4900,
            },
        )
    ],
    problems_of=_CHARGE,
    parameters=[IDEMPOTENCY_KEY],
    headers=[RATE_LIMIT_POLICY, RATE_LIMIT, IDEMPOTENT_REPLAYED],
    examples=[_MANY, _ONE_TEXT],
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
        _answer(
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
    examples=[_MANY, _ONE_TEXT],
)
LIST: Final = operation(
    "listMessages",
    "List a customer's messages, the newest first",
    answer=MessagesAnswer,
    answers=[_answer("the last page", {"messages": [_LISTED], "next_cursor": None})],
    problems_of=(*_ACCESS, CustomerNotFound),
    parameters=[
        query_parameter("customer_id", "The customer. With an API key it may be left out.", _ULID),
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
    answers=[_answer("delivered", MESSAGE_EXAMPLE)],
    problems_of=(InvalidApiKey, MessageNotFound, MessageArchived),
)
CANCEL: Final = operation(
    "cancelMessage",
    "Cancel a scheduled message",
    description="The message is not sent, and its cost is refunded. Doing it again changes nothing.",
    answer=CancelAnswer,
    answers=[_answer("canceled", {"id": _ID, "status": "canceled", "refunded": 100, "balance": 5000})],
    problems_of=(InvalidApiKey, MessageNotFound, MessageArchived, NotCancelable, PartitionMissing),
    links={"message": _of_message("getMessage")},
)
_RECEIPT_PROBLEMS: Final = (
    Unauthorized,
    InvalidSignature,
    ReceiptAddressRefused,
    OperatorNotFound,
    MessageNotFound,
    MessageArchived,
    InvalidReceipt,
)
_SIGNATURE: Final = OpenApiParameter(
    SIGNATURE_HEADER,
    {"type": "string", "examples": ["sha256=" + "0" * 64]},
    OpenApiParameter.HEADER,
    description="`sha256=` and the HMAC-SHA256 in hex of the body, or of a GET's query, where the gateway has a secret "
    "for this operator.",
)
RECEIPT: Final = operation(
    "recordReceipt",
    "For operators: hand in a delivery receipt",
    description="The body has the operator's own shape, one receipt or a list. 200 means that all of it is stored.",
    body=Receipt,
    media_types=("application/json", "application/x-www-form-urlencoded"),
    answer=ReceiptAnswer,
    answers=[_answer("recorded", {"status": "recorded"})],
    examples=[
        _example(
            "the operator mci",
            {"reference": _ID, "messageId": "7f3a9c", "status": "DELIVRD", "doneAt": 1795507204812},
        )
    ],
    problems_of=_RECEIPT_PROBLEMS,
    parameters=[_SIGNATURE],
    tag="operators",
    security=[{"receiptToken": []}],
)
RECEIPT_IN_QUERY: Final = operation(
    "recordReceiptInQuery",
    "For operators: hand in a delivery receipt in the query",
    description="The query has the fields of the operator's own shape; these are those of the operator mci. 200 means "
    "that the receipt is stored.",
    answer=ReceiptAnswer,
    answers=[_answer("recorded", {"status": "recorded"})],
    problems_of=_RECEIPT_PROBLEMS,
    parameters=[
        _SIGNATURE,
        *(
            query_parameter(name, description, {"type": "string", "examples": [example]})
            for name, description, example in (
                ("reference", "The id that the gateway gave the message.", _ID),
                ("messageId", "The id that the operator gave it.", "7f3a9c"),
                ("status", "The operator's word for what happened.", "DELIVRD"),
                ("doneAt", "When it happened, in milliseconds since 1970.", "1795507204812"),
            )
        ),
    ],
    tag="operators",
    security=[{"receiptToken": []}],
)
