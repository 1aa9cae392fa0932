"""How the operations on messages are described in the OpenAPI document."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, Literal

import msgspec
from drf_spectacular.utils import OpenApiExample

from apps.balance.errors import InsufficientBalance
from apps.customers.errors import CustomerNotFound, CustomerSuspended, InvalidApiKey, RateLimited, WrongCustomer
from apps.sms import statuses
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
from apps.sms.requests import ULID_PATTERN, BatchRequest, BroadcastRequest, SendRequest
from smsgateway.errors import PartitionMissing, Unauthorized
from smsgateway.openapi import IDEMPOTENCY_KEY, PAGE, FieldFault, operation, query_parameter

Maybe = msgspec.UnsetType
Encoding = Literal["gsm7", "ucs2"]
UNSET = msgspec.UNSET


class SendAnswer(msgspec.Struct):
    """Charged, stored, on its way (or waiting for its hour)."""

    id: str
    status: Literal["accepted", "scheduled"]
    to: str
    encoding: Encoding
    segments: int
    cost: int
    balance: int
    send_at: dt.datetime | Maybe = UNSET


class BatchResult(msgspec.Struct):
    """What became of one item: accepted with its id, or refused with what is wrong."""

    index: int
    status: Literal["accepted", "scheduled", "refused"]
    id: str | Maybe = UNSET
    to: str | Maybe = UNSET
    encoding: Encoding | Maybe = UNSET
    segments: int | Maybe = UNSET
    cost: int | Maybe = UNSET
    send_at: dt.datetime | Maybe = UNSET
    errors: list[FieldFault] | Maybe = UNSET


class BatchAnswer(msgspec.Struct):
    """An answer for each item, and what all of them cost."""

    accepted: int
    refused: int
    cost: int
    results: list[BatchResult]
    balance: int


class Estimate(msgspec.Struct):
    """What one item would cost, and which way it would go."""

    index: int
    status: Literal["valid", "refused"]
    to: str | Maybe = UNSET
    encoding: Encoding | Maybe = UNSET
    segments: int | Maybe = UNSET
    cost: int | Maybe = UNSET
    operator: str | Maybe = UNSET
    errors: list[FieldFault] | Maybe = UNSET


class EstimateAnswer(msgspec.Struct):
    """What a batch would cost; nothing was charged."""

    cost: int
    currency: str
    balance: int
    results: list[Estimate]


class HistoryEntry(msgspec.Struct):
    """That the message reached a status."""

    status: str
    at: dt.datetime
    operator: str | Maybe = UNSET
    operator_message_id: str | Maybe = UNSET
    error: str | Maybe = UNSET
    attempt: int | Maybe = UNSET
    refunded: int | Maybe = UNSET
    send_at: dt.datetime | Maybe = UNSET


class ListedMessage(msgspec.Struct, kw_only=True, rename={"sender": "from"}):
    """A message with its current status."""

    id: str
    customer_id: str
    status: str
    accepted_at: dt.datetime
    to: str
    sender: str
    text: str
    encoding: Encoding
    segments: int
    cost: int
    refunded: int
    operator: str
    priority: Literal["otp", "normal", "bulk"]
    reference: str
    send_at: dt.datetime | None
    expires_at: dt.datetime
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

    id: str
    status: Literal["canceled"]
    refunded: int
    balance: int


class ReceiptAnswer(msgspec.Struct):
    """The receipt is stored."""

    status: Literal["recorded", "ignored"]


class Receipt(msgspec.Struct):
    """An operator's receipt, in that operator's own shape."""


_ULID: Final = {"type": "string", "pattern": ULID_PATTERN}
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


def _of_message(operation_id: str) -> dict[str, Any]:
    return {"operationId": operation_id, "parameters": {"message_id": "$response.body#/id"}}


SEND: Final = operation(
    "send",
    "Send one message",
    body=[SendRequest],
    answer=SendAnswer,
    problems_of=_CHARGE,
    parameters=[IDEMPOTENCY_KEY],
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
    links={"message": _of_message("message"), "cancel": _of_message("cancel")},
)
BATCH: Final = operation(
    "batch",
    "Send many messages, or one text to many",
    body=[BatchRequest, BroadcastRequest],
    answer=BatchAnswer,
    problems_of=_CHARGE,
    parameters=[IDEMPOTENCY_KEY],
    examples=[
        _example("many", {"customer_id": _CUSTOMER, "messages": [{"to": "09121234567", "text": "one"}]}),
        _example("one text", {"customer_id": _CUSTOMER, "to": ["09121234567", "09351234567"], "text": "Sale!"}),
    ],
    links={
        "message": {"operationId": "message", "parameters": {"message_id": "$response.body#/results/0/id"}},
    },
)
ESTIMATE: Final = operation(
    "estimate",
    "What would it cost?",
    body=[BatchRequest, BroadcastRequest],
    answer=EstimateAnswer,
    problems_of=(*_ACCESS, CustomerNotFound),
)
LIST: Final = operation(
    "messages",
    "A customer's messages, the newest first",
    answer=MessagesAnswer,
    problems_of=(*_ACCESS, CustomerNotFound),
    parameters=[
        query_parameter("customer_id", "Whose; with an API key its own customer's if left out.", _ULID),
        query_parameter("status", "The current status.", {"type": "string", "enum": list(statuses.ORDER)}),
        query_parameter("recipient", "A mobile number."),
        query_parameter("reference", "Your own.", {"type": "string", "minLength": 1, "maxLength": 200}),
        *PAGE,
    ],
)
MESSAGE: Final = operation(
    "message",
    "What became of a message",
    answer=MessageAnswer,
    problems_of=(InvalidApiKey, MessageNotFound, MessageArchived),
)
CANCEL: Final = operation(
    "cancel",
    "Cancel a scheduled message; it is refunded",
    answer=CancelAnswer,
    problems_of=(InvalidApiKey, MessageNotFound, MessageArchived, NotCancelable, PartitionMissing),
    links={"message": _of_message("message")},
)
RECEIPT: Final = operation(
    "receipt",
    "For operators: a delivery receipt",
    body=[Receipt],
    answer=ReceiptAnswer,
    problems_of=(
        Unauthorized,
        InvalidSignature,
        ReceiptAddressRefused,
        OperatorNotFound,
        MessageNotFound,
        MessageArchived,
        InvalidReceipt,
    ),
    tag="operators",
)
