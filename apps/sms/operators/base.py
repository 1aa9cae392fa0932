"""What every operator offers to the gateway, whatever its protocol."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal, NamedTuple, Protocol, TypeVar, get_args
from uuid import UUID

import msgspec

from apps.sms.events import DeliveryRequested
from smsgateway.errors import InvalidRequest
from smsgateway.http.value_forms import wrong_value

# Types of the fields that operators send. PostgreSQL's text takes no NUL, hence no control characters.
OperatorMessageId = Annotated[
    str,
    msgspec.Meta(pattern=r"\A[^\x00-\x20\x7f]{1,64}\Z", extra={"form": "1 to 64 characters, printable and not blank"}),
]
ErrorCode = Annotated[
    str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{0,64}\Z", extra={"form": "at most 64 printable characters"})
]
Reference = Annotated[
    str,
    msgspec.Meta(pattern=r"\A[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}\Z", extra={"form": "a ULID of 26 characters"}),
]

ReceiptStatus = Literal["delivered", "undelivered", "expired", "rejected"]
RECEIPT_STATUSES: Final = frozenset(get_args(ReceiptStatus))

UNREADABLE_RECEIPT: Final = "The operator sent a receipt that cannot be read."

Wire = TypeVar("Wire", bound=msgspec.Struct)


class SubmitError(Exception):
    """The operator did not say that it took the message. `code` says why: short and stable."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class PermanentSubmitError(SubmitError):
    """The operator refused the message for good. `code` is its own: no label for a metric."""


# What a failed submit says something about: the operator as a whole, or this message (its number) alone. An answer such
# as "submit failed" may be about either.
Concern = Literal["operator", "message", "unclear"]

# The operator did answer, and the code does not say whether others would fare better.
_UNCLEAR_CODES: Final = frozenset({"http_500", "invalid_answer", "internal_error"})


class TransientSubmitError(SubmitError):
    """A later try may succeed. `retry_after`: the seconds that the operator asked to wait, if it did.

    `code` is one of a few. After `timeout`, `connection_lost`, `invalid_answer` and `http_5..` nobody knows
    whether the operator took the message. `concerns` decides what else is kept waiting: see Concern.
    """

    def __init__(self, code: str, *, retry_after: float | None = None, concerns: Concern | None = None) -> None:
        super().__init__(code)
        self.retry_after = retry_after
        self.concerns: Concern = concerns or ("unclear" if code in _UNCLEAR_CODES else "operator")


class QueueFull(TransientSubmitError):
    """The operator holds as many messages for this number as it may, and did not take another. Other numbers are not
    concerned. No try is spent: only the message's validity ends the waiting."""

    def __init__(self, code: str, *, retry_after: float | None = None) -> None:
        super().__init__(code, retry_after=retry_after, concerns="message")


class Throttled(TransientSubmitError):
    """The operator takes no more messages at this pace: the connection slows down. No try is spent."""

    def __init__(self, *, retry_after: float | None = None) -> None:
        super().__init__("throttled", retry_after=retry_after)


class InvalidReceipt(InvalidRequest):
    """The delivery receipt is not valid"""

    code = "invalid_receipt"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's word on what became of a message.

    `reference` is our message id, if the operator gives it back; else its own `operator_message_id`, exactly as it
    gave it at the submit, tells which message (or which part of a long one) is meant. `at` is when it happened, in
    milliseconds since 1970 UTC; `error` is the operator's own code.
    """

    reference: UUID | None
    operator_message_id: str
    status: ReceiptStatus
    error: str
    at: int


# A receipt that was read, or why it cannot be; None for a stage on the way, which is acknowledged and forgotten.
ReadReceipt = Receipt | InvalidReceipt | None


class Submission(NamedTuple):
    """The operator took the message. Its ids exactly as given; empty if its answer has none that can be read.
    `part_ids` are those of a long message's parts after the first, where the operator gives each part its own."""

    operator_message_id: str
    part_ids: tuple[str, ...] = ()


class Limits(NamedTuple):
    """What the operator's contract allows on this connection; 0 segments a second means no limit."""

    in_flight: int
    segments_per_second: float = 0.0


# Makes a receipt durable; only when it returns may the receipt be acknowledged to the operator.
ReceiptSink = Callable[[Receipt], Awaitable[None]]


class Operator(Protocol):
    """A connection to a mobile operator. Made from settings; opens nothing and needs no running loop before `start`."""

    limits: Limits

    @property
    def name(self) -> str: ...

    async def start(self, receipts: ReceiptSink) -> None:
        """Open what it needs in the running loop, without waiting for the operator. Receipts that come over the same
        connection (SMPP) go to `receipts`."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether a submit has a chance now. Nothing is submitted while it is False; HTTP operators are always True."""
        ...

    async def submit(self, message: DeliveryRequested) -> Submission:
        """Hand the message over, its id as the reference.

        Raises PermanentSubmitError or TransientSubmitError.
        """
        ...

    def read_receipts(self, document: object) -> list[ReadReceipt]:
        """Read the delivery receipts in a document of the operator's own shape (see `documents.decode_document`; of
        a form, its fields by their names), at least one. Raises InvalidReceipt if the document has none."""
        ...

    async def close(self) -> None:
        """Close what `submit` opened."""
        ...


def receipt_moment(milliseconds: int) -> int:
    """The time of a receipt, which operators give in whole minutes, in the future, or as zero if they have none. That
    it is not before the submit is seen to where the submit is known (`apps.sms.receipts.matching`)."""
    now = time.time_ns() // 1_000_000
    return min(milliseconds, now) if milliseconds > 0 else now


def decode_receipts(document: object, kind: type[Wire], read: Callable[[Wire], Receipt]) -> list[ReadReceipt]:
    """The receipt that a document is, or those that it is a list of; `kind` is the operator's own shape."""
    listed = document if isinstance(document, list) else [document]
    if not listed:
        raise InvalidReceipt(UNREADABLE_RECEIPT, errors=[_wrong_body("has no receipt")])
    return [_decode_receipt(element, kind, read) for element in listed]


def _decode_receipt(element: object, kind: type[Wire], read: Callable[[Wire], Receipt]) -> ReadReceipt:
    try:
        return read(msgspec.convert(element, kind, strict=False))  # a form's numbers are texts
    except msgspec.ValidationError:
        return InvalidReceipt(UNREADABLE_RECEIPT, errors=_wrong_fields(element, kind))


def _wrong_fields(document: object, kind: type[msgspec.Struct]) -> list[dict[str, str]]:
    if not isinstance(document, dict):
        return [_wrong_body("must be a JSON object")]
    errors = []
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if name in document:
            if wrong := wrong_value(name, document[name], field.type, strict=False):
                errors.append(wrong | {"code": "invalid"})
        elif field.required:
            errors.append({"field": name, "code": "missing", "reason": "This field is required."})
    return errors


def _wrong_body(fault: str) -> dict[str, str]:
    return {"field": "", "code": "malformed_json", "reason": f"The body {fault}."}
