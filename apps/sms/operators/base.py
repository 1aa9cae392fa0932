"""What every operator offers to the gateway, whatever its protocol."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Protocol, Self, TypeVar
from uuid import UUID

import msgspec

from apps.sms.events import DeliveryRequested
from smsgateway.config import Config
from smsgateway.errors import InvalidRequest

# Types of the fields that operators send. PostgreSQL's text takes no NUL, hence no control characters.
OperatorMessageId = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x20\x7f]{1,64}\Z")]
ErrorCode = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{0,64}\Z")]
Reference = Annotated[str, msgspec.Meta(pattern=r"\A[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}\Z")]
UnixSeconds = Annotated[int, msgspec.Meta(ge=946_684_800, le=4_102_444_800)]
UnixMilliseconds = Annotated[int, msgspec.Meta(ge=946_684_800_000, le=4_102_444_800_000)]

ReceiptStatus = Literal["delivered", "undelivered", "expired", "rejected"]

Wire = TypeVar("Wire", bound=msgspec.Struct)


class SubmitError(Exception):
    """The operator did not say that it took the message. `code` says why: short and stable."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class PermanentSubmitError(SubmitError):
    """The operator refused the message for good. `code` is its own: no label for a metric."""


class TransientSubmitError(SubmitError):
    """A later try may succeed. `retry_after`: the seconds that the operator asked to wait, if it did.

    `code` is one of a few. After `timeout`, `connection_lost`, `invalid_answer` and `http_5..` nobody knows
    whether the operator took the message.
    """

    def __init__(self, code: str, *, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.retry_after = retry_after


class Throttled(TransientSubmitError):
    """The operator takes no more messages at this pace."""

    def __init__(self, *, retry_after: float | None = None) -> None:
        super().__init__("throttled", retry_after=retry_after)


class InvalidReceipt(InvalidRequest):
    """The delivery receipt is not valid"""

    code = "invalid_receipt"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's word on what became of a message.

    `reference` is our message id; `at` is when it happened, in milliseconds since 1970 UTC; `error` is the
    operator's own code.
    """

    reference: UUID
    operator_message_id: str
    status: ReceiptStatus
    error: str
    at: int


class Operator(Protocol):
    """A mobile operator. `name` is also the name of its group of settings."""

    name: ClassVar[str]
    # The names that `phonenumbers` gives to the carrier of the numbers that this operator serves.
    carriers: ClassVar[frozenset[str]]

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The operator with its settings. Opens no connection yet and needs no running loop."""
        ...

    async def submit(self, message: DeliveryRequested) -> str:
        """Hand the message over, its id as the reference. Returns the operator's id of it, exactly as given.

        Raises PermanentSubmitError or TransientSubmitError.
        """
        ...

    def parse_receipt(self, body: bytes) -> Receipt:
        """Read a delivery receipt in the operator's own shape. Raises InvalidReceipt."""
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
