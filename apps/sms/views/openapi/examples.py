"""Examples of requests and responses about messages."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import OpenApiExample

MESSAGE_ID: Final = "01M85WEYCNSSN7STBNMSVHQ0Y8"
CUSTOMER_ID: Final = "01M85WEX1V5DRSABARX08QE0G2"


def request_example(name: str, value: dict[str, Any]) -> OpenApiExample:
    """An example of a request's body."""
    return OpenApiExample(name, value, request_only=True, media_type="application/json")


def response_example(name: str, value: dict[str, Any]) -> OpenApiExample:
    """An example of a successful response."""
    return OpenApiExample(name, value, response_only=True, media_type="application/json", status_codes=["200"])


ACCEPTED: Final = {
    "id": MESSAGE_ID,
    "status": "accepted",
    "to": "+989121234567",
    "encoding": "gsm7",
    "segments": 1,
    "cost": 100,
}
REFUSED: Final = {
    "index": 1,
    "status": "refused",
    "errors": [
        {"field": "text", "code": "empty", "reason": "The text is empty."},
    ],
}
MANY: Final = request_example("many", {"customer_id": CUSTOMER_ID, "messages": [{"to": "09121234567", "text": "one"}]})
ONE_TEXT: Final = request_example(
    "one text", {"customer_id": CUSTOMER_ID, "to": ["09121234567", "09351234567"], "text": "Sale!"}
)
LISTED: Final = ACCEPTED | {
    "customer_id": CUSTOMER_ID,
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
MESSAGE_EXAMPLE: Final = LISTED | {
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
