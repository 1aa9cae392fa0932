"""The operations for operators: delivery receipts."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from drf_spectacular.utils import OpenApiParameter

from apps.sms.errors import (
    InvalidSignature,
    MessageArchived,
    MessageNotFound,
    OperatorNotFound,
    ReceiptAddressRefused,
)
from apps.sms.operators.base import InvalidReceipt
from apps.sms.receipts.access import SIGNATURE_HEADER
from apps.sms.views.openapi.examples import MESSAGE_ID, request_example, response_example
from smsgateway.errors import Unauthorized
from smsgateway.http.openapi import operation, query_parameter


class ReceiptAnswer(msgspec.Struct):
    """The receipt is stored."""

    status: Literal["recorded", "ignored"]


class Receipt(msgspec.Struct):
    """An operator's receipt, in that operator's own shape."""


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
    description="The body has the operator's own shape, one receipt or a list. 200 means that all receipts are stored. "
    "The token may be elsewhere than in the header if the operator's settings say so.",
    body=Receipt,
    media_types=("application/json", "application/xml", "application/x-www-form-urlencoded"),
    answer=ReceiptAnswer,
    answers=[response_example("recorded", {"status": "recorded"})],
    examples=[
        request_example(
            "the operator mci",
            {"reference": MESSAGE_ID, "messageId": "7f3a9c", "status": "DELIVRD", "doneAt": 1795507204812},
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
    answers=[response_example("recorded", {"status": "recorded"})],
    problems_of=_RECEIPT_PROBLEMS,
    parameters=[
        _SIGNATURE,
        *(
            query_parameter(name, description, {"type": "string", "examples": [example]})
            for name, description, example in (
                ("reference", "The id that the gateway gave the message.", MESSAGE_ID),
                ("messageId", "The id that the operator gave it.", "7f3a9c"),
                ("status", "The operator's word for what happened.", "DELIVRD"),
                ("doneAt", "When it happened, in milliseconds since 1970.", "1795507204812"),
            )
        ),
    ],
    tag="operators",
    security=[{"receiptToken": []}],
)
