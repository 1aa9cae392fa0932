"""What every operator offers to the gateway, in any protocol."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal, NamedTuple, Protocol, TypeVar, get_args
from uuid import UUID

import msgspec

from apps.sms.events import DeliveryRequested, ReceiptUnread
from smsgateway.errors import InvalidRequest
from smsgateway.http.value_forms import wrong_value

# Types of the fields that operators send. PostgreSQL's text type takes no NUL, hence no control characters.
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
# The message is on its way: it is kept for those who ask, and another receipt follows.
INTERMEDIATE: Final = "intermediate"

UNREADABLE_RECEIPT: Final = "The operator sent a receipt that cannot be read."

Wire = TypeVar("Wire", bound=msgspec.Struct)


class SubmitError(Exception):
    """The operator did not accept the message, as far as known. `code`: the reason, short and stable."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class PermanentSubmitError(SubmitError):
    """The operator refused the message for good. `code` is its own, so it must not be a metric's label."""


# What a failed submit is about: the operator as a whole, or this message (its number) alone. An answer such as "submit
# failed" may be about either.
Concern = Literal["operator", "message", "unclear"]

# The operator did answer, but the code does not say whether other messages would succeed.
_UNCLEAR_CODES: Final = frozenset({"http_500", "invalid_answer", "internal_error"})


class TransientSubmitError(SubmitError):
    """A later try may succeed. `retry_after`: the seconds that the operator asked to wait, if it did.

    `code` has few values. After `timeout`, `connection_lost`, `invalid_answer` and `http_5..` it is unknown whether
    the operator accepted the message. `concerns` decides what else has to wait: see Concern.
    """

    def __init__(self, code: str, *, retry_after: float | None = None, concerns: Concern | None = None) -> None:
        super().__init__(code)
        self.retry_after = retry_after
        self.concerns: Concern = concerns or ("unclear" if code in _UNCLEAR_CODES else "operator")


class QueueFull(TransientSubmitError):
    """The operator's queue for this number is full. Other numbers are not concerned. No try is spent: retries go on
    until the message's validity ends."""

    def __init__(self, code: str, *, retry_after: float | None = None) -> None:
        super().__init__(code, retry_after=retry_after, concerns="message")


class Throttled(TransientSubmitError):
    """The operator throttled the submit: the connection slows down. No try is spent."""

    def __init__(self, *, retry_after: float | None = None) -> None:
        super().__init__("throttled", retry_after=retry_after)


class InvalidReceipt(InvalidRequest):
    """The delivery receipt is not valid"""

    code = "invalid_receipt"
    # The settings, without the operator's prefix, that would read it, as far as known.
    hint = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's report on a message.

    `reference`: our message id, if the operator returns it. Otherwise its own `operator_message_id`, exactly as given
    at the submit, identifies the message (or the part of a long one). `at`: when it happened, in milliseconds since
    1970 UTC; `error`: the operator's own code; `state`: its word for the status; `tlvs`: parameters that its settings
    keep, in hexadecimal by tag.
    """

    reference: UUID | None
    operator_message_id: str
    status: ReceiptStatus | Literal["intermediate"]
    error: str
    at: int
    state: str = ""
    tlvs: dict[str, str] = {}


# A receipt, or the error if it cannot be read; None for a status that the settings ignore.
ReadReceipt = Receipt | InvalidReceipt | None


SpeakingPart = Literal["all", "first", "last", "any"]


class Submission(NamedTuple):
    """The operator accepted the message. `operator_message_id`: exactly as given, or empty if the answer has no
    readable id. `part_ids`: the ids of a long message's further parts, if the operator gives each part its own.
    `speaking_part`: whose receipt speaks for the message."""

    operator_message_id: str
    part_ids: tuple[str, ...] = ()
    speaking_part: SpeakingPart = "all"


class Limits(NamedTuple):
    """What the operator's contract allows on this connection. 0 segments per second: no limit."""

    in_flight: int
    segments_per_second: float = 0.0


# Makes a receipt durable, or the octets of one that cannot be read. It may be acknowledged to the operator only after
# this returns.
ReceiptSink = Callable[[Receipt | ReceiptUnread], Awaitable[None]]


class Operator(Protocol):
    """A connection to a mobile operator, made from settings. It opens nothing, and needs no event loop, before
    `start`."""

    limits: Limits

    @property
    def name(self) -> str: ...

    async def start(self, receipts: ReceiptSink) -> None:
        """Open its connections in the running event loop, without waiting for the operator. `receipts` gets the
        receipts that come over the same connection (SMPP)."""
        ...

    @property
    def is_connected(self) -> bool:
        """True if a submit has a chance now; always for HTTP operators. Nothing is submitted while it is False."""
        ...

    async def submit(self, message: DeliveryRequested) -> Submission:
        """Submit the message, with its id as the reference.

        Raises PermanentSubmitError or TransientSubmitError.
        """
        ...

    def read_receipts(self, document: object) -> list[ReadReceipt]:
        """Read the delivery receipts in a document of the operator's own shape: decoded JSON (see
        `documents.decode_document`), or a form's fields by name. Raises InvalidReceipt if there is no receipt in it."""
        ...

    def read_unread(self, unread: ReceiptUnread) -> list[ReadReceipt]:
        """Read again, with the present settings, what could not be read. Raises InvalidReceipt if it still cannot."""
        ...

    async def close(self) -> None:
        """Close what `start` and `submit` opened."""
        ...


def receipt_moment(milliseconds: int) -> int:
    """The time of a receipt. Operators give it in whole minutes, in the future, or as zero: falls back to now.

    `apps.sms.receipts.matching` ensures that it is not before the submit."""
    now = time.time_ns() // 1_000_000
    return min(milliseconds, now) if milliseconds > 0 else now


def decode_receipts(document: object, kind: type[Wire], read: Callable[[Wire], Receipt]) -> list[ReadReceipt]:
    """Decode a receipt, or a list of receipts. `kind`: the operator's own shape."""
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
