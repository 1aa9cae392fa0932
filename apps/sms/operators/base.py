"""What every operator offers to the gateway, whatever its protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal, NamedTuple, Protocol, TypeVar, get_args
from uuid import UUID

import msgspec

from apps.sms.events import DeliveryRequested
from smsgateway.errors import InvalidRequest

# Types of the fields that operators send. PostgreSQL's text takes no NUL, hence no control characters.
OperatorMessageId = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x20\x7f]{1,64}\Z")]
ErrorCode = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{0,64}\Z")]
Reference = Annotated[str, msgspec.Meta(pattern=r"\A[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}\Z")]
UnixSeconds = Annotated[int, msgspec.Meta(ge=946_684_800, le=4_102_444_800)]
UnixMilliseconds = Annotated[int, msgspec.Meta(ge=946_684_800_000, le=4_102_444_800_000)]

ReceiptStatus = Literal["delivered", "undelivered", "expired", "rejected"]
RECEIPT_STATUSES: Final = frozenset(get_args(ReceiptStatus))

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


class Submission(NamedTuple):
    """The operator took the message. Its ids exactly as given: `part_ids` are those of a long message's parts after
    the first, where the operator gives each part its own."""

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

    def parse_receipt(self, body: bytes) -> Receipt | None:
        """Read a delivery receipt in the operator's own shape; None if it tells of a stage on the way, which is to be
        acknowledged and forgotten. Raises InvalidReceipt."""
        ...

    async def close(self) -> None:
        """Close what `submit` opened."""
        ...


def decode_receipt(body: bytes, kind: type[Wire]) -> Wire:
    """The JSON body as `kind`, the operator's own shape. Raises InvalidReceipt with every wrong field."""
    try:
        document = msgspec.json.decode(body)
        return msgspec.convert(document, kind)
    except msgspec.ValidationError:
        errors = _wrong_fields(document, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        errors = [_wrong_body("is no JSON document")]
    raise InvalidReceipt("The operator sent a receipt that cannot be read.", errors=errors)


def _wrong_fields(document: object, kind: type[msgspec.Struct]) -> list[dict[str, str]]:
    if not isinstance(document, dict):
        return [_wrong_body("must be a JSON object")]
    errors = []
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if name in document:
            try:
                msgspec.convert(document[name], field.type)
            except msgspec.ValidationError as fault:
                errors.append({"field": name, "code": "invalid", "reason": f"{fault}."})
        elif field.required:
            errors.append({"field": name, "code": "missing", "reason": "This field is required."})
    return errors


def _wrong_body(fault: str) -> dict[str, str]:
    return {"field": "", "code": "malformed_json", "reason": f"The body {fault}."}
