"""The bodies that callers send, as typed structs. The OpenAPI document is generated from the same types."""

from __future__ import annotations

import datetime as dt
import functools
import typing
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from apps.sms import senders
from apps.sms.accept import validation
from apps.sms.encoding import MAX_SEGMENTS
from smsgateway import ids
from smsgateway.config.settings import Sms
from smsgateway.errors import InvalidRequest
from smsgateway.http import json_outline
from smsgateway.http.body import (
    DECODE_ERRORS,
    Check,
    Request,
    decode_body,
    decoder,
    errors_of,
    repeated_error,
    require_unique_names,
)
from smsgateway.http.field_errors import FIX_FIELDS, FieldError, fault

MAX_VALIDITY: Final = 7 * 86_400

CustomerId = Annotated[
    str,
    Meta(
        description="Who pays: the customer's ULID.",
        examples=["01M85WEX1V5DRSABARX08QE0G2"],
        extra_json_schema={"pattern": ids.PATTERN},
    ),
]
Recipient = Annotated[
    str,
    Meta(
        description="Mobile number: E.164, or a national form of the default region.",
        examples=["+989121234567", "09121234567"],
    ),
]
Text = Annotated[str, Meta(min_length=1, description="The text.", examples=["Your code is 1234"])]
# `apps.sms.senders` checks its length, which depends on its characters.
Sender = Annotated[
    str,
    Meta(
        description="Sender id: up to 11 places of GSM 7-bit, or a number of 3 to 15 digits.",
        examples=["Shop"],
        extra_json_schema={"maxLength": senders.LONGEST},
    ),
]
Reference = Annotated[
    str, Meta(max_length=200, description="Your own reference; the list can filter by it.", examples=["order 17"])
]
SendAt = Annotated[
    dt.datetime,
    Meta(tz=True, description="Not before this time, up to 30 days ahead.", examples=["2030-01-31T08:00:00Z"]),
]
ValidFor = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_VALIDITY,
        description="Seconds, after `send_at` if given, in which the operator must accept it; else it expires and is "
        "refunded.",
        examples=[300],
    ),
]
Priority = Annotated[
    Literal["otp", "normal", "bulk"],
    Meta(description="`otp` overtakes `normal`, which overtakes `bulk`.", examples=["otp"]),
]
EncodingWish = Annotated[
    Literal["auto", "gsm7", "ucs2"],
    Meta(description="`auto`: GSM-7 if it has every character, else UCS-2.", examples=["auto"]),
]
MaxSegments = Annotated[
    int, Meta(ge=1, le=MAX_SEGMENTS, description="Refuse the message if it needs more segments.", examples=[3])
]
CallbackUrl = Annotated[
    str,
    Meta(
        max_length=2048,
        description="https URL for callbacks of this message, instead of the customer's endpoint.",
        examples=["https://shop.example/sms"],
        extra_json_schema={"format": "uri"},
    ),
]
Metadata = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=40)],
        Annotated[str, Meta(max_length=500)],
    ],
    Meta(
        max_length=20,
        description="Your own data, stored with the message: up to 20 texts.",
        examples=[{"campaign": "9"}],
    ),
]
OnInsufficientBalance = Annotated[
    Literal["refuse", "partial"],
    Meta(description="`partial`: accept messages in order until the balance ends.", examples=["partial"]),
]


class MessageFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """The fields of a message except its recipient."""

    text: Text
    sender: Sender = ""
    reference: Reference = ""
    send_at: SendAt | UnsetType = UNSET
    valid_for: ValidFor | UnsetType = UNSET
    priority: Priority = "normal"
    encoding: EncodingWish = "auto"
    transliterate: Annotated[
        bool, Meta(description="Replace typographic quotes, dashes and spaces with GSM-7 characters.")
    ] = False
    max_segments: MaxSegments = MAX_SEGMENTS
    callback_url: CallbackUrl = ""
    metadata: Metadata | UnsetType = UNSET


class MessageRequest(MessageFields, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """One message of a batch."""

    to: Recipient


class SendRequest(MessageRequest, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """Body of `POST /v1/sms/send`."""

    customer_id: CustomerId


class BatchRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/sms/batch`: many messages."""

    customer_id: CustomerId
    messages: Annotated[list[MessageRequest], Meta(extra_json_schema={"minItems": 1})]
    on_insufficient_balance: OnInsufficientBalance = "refuse"


class BroadcastRequest(MessageFields, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """Body of `POST /v1/sms/batch`: one text to many recipients."""

    customer_id: CustomerId
    # Any, so that an item that is not a string is refused alone. The schema says what is accepted.
    to: Annotated[
        list[Any],
        Meta(
            extra_json_schema={
                "minItems": 1,
                "items": {"type": "string", "description": "A mobile number.", "examples": ["+989121234567"]},
            }
        ),
    ]
    on_insufficient_balance: OnInsufficientBalance = "refuse"


class _LooseBatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A batch whose items are decoded one by one, so that a wrong one is refused alone."""

    customer_id: str
    messages: list[msgspec.Raw]
    on_insufficient_balance: OnInsufficientBalance = "refuse"


class Batch(typing.NamedTuple):
    """A decoded batch: for each item its message and recipient, or its errors. `field`: the one that has the items."""

    payer: UUID
    items: list[tuple[MessageFields, str] | list[FieldError]]
    partial: bool
    field: str = "messages"


def decode(body: bytes | msgspec.Raw, kind: type[Request], *, config: Sms, explain: bool = True) -> Request:
    """The body as `kind`. Raises InvalidRequest that names every field that is missing, unknown or wrong."""
    return decode_body(body, kind, check=_check(config), explain=explain)


def decode_batch(body: bytes, *, config: Sms) -> Batch:
    """The batch, in either form. Raises InvalidRequest if anything beside its items is wrong.

    The items are counted before one of them is decoded. Of those with fields that are missing, unknown or of the wrong
    type, the first MOST_EXPLAINED have their errors; the others have an empty list, because finding errors is slow.
    """
    field = "messages"
    wanted: BatchRequest | BroadcastRequest | _LooseBatch
    # Every message has a brace, and so has the body.
    may_be_many = body.count(b"{") > config.max_batch + 1
    typed = None if may_be_many else _typed(body)
    if typed is None:
        form = _form(body, config)
        field = form.field
        typed = _typed(body) if may_be_many and field == "messages" else None
    if typed is not None:
        wanted, items = typed, _Items((item, item.to) for item in typed.messages)
    else:
        try:
            wanted, items = _broadcast(form, config) if field == "to" else _one_by_one(form, config)
        except DECODE_ERRORS as error:  # of the list itself
            raise InvalidRequest(FIX_FIELDS, errors=errors_of(body, _LooseBatch, _check(config), error)) from None
    payer, errors = customer_id(wanted.customer_id)
    if not items:
        errors.append(_length_error(field, config, "none"))
    if payer is None or errors:
        raise InvalidRequest(FIX_FIELDS, errors=errors)
    return Batch(payer, items, wanted.on_insufficient_balance == "partial", field)


MOST_EXPLAINED: Final = 100
_NOT_A_STRING: Final = fault("to", "wrong_type", "This item must be a string: a mobile number, such as +989121234567.")
_Items = list[tuple[MessageFields, str] | list[FieldError]]


class _Skipped(msgspec.Struct):
    """A JSON object of which nothing is decoded."""


class _Form(typing.NamedTuple):
    """A batch's body, the field with its items, and their list as it is written; empty if there is none.

    `envelope`: the body with an empty list in place of that one, so that it is short.
    """

    body: bytes
    field: str
    listed: bytes
    envelope: bytes


def _typed(body: bytes) -> BatchRequest | None:
    """The batch, if it has the right fields and so have all of its messages."""
    try:
        typed: BatchRequest = decoder(BatchRequest).decode(body)
    except DECODE_ERRORS:
        return None
    require_unique_names(body)
    return typed


def _form(body: bytes, config: Sms) -> _Form:
    try:
        found = json_outline.fields(body, most_items=config.max_batch)
    except json_outline.RepeatedField as repeated:
        raise repeated_error(str(repeated)) from None
    except json_outline.TooManyItems as longer:
        error = _length_error(str(longer), config, f"more than {config.max_batch}")
        raise InvalidRequest(FIX_FIELDS, errors=[error]) from None
    except json_outline.NoOutline:
        raise InvalidRequest(FIX_FIELDS, errors=_without_outline(body, config)) from None
    field = "to" if "to" in found and "messages" not in found else "messages"
    place = found.get(field)
    if place is None or body[place.start : place.start + 1] != b"[":
        return _Form(body, field, b"", body)
    return _Form(body, field, body[place], body[: place.start] + b"[]" + body[place.stop :])


def _without_outline(body: bytes, config: Sms) -> list[FieldError]:
    try:
        decoder(_Skipped).decode(body)
    except DECODE_ERRORS as error:
        return errors_of(body, _LooseBatch, _check(config), error)
    depth, most = json_outline.MAX_DEPTH, json_outline.MAX_FIELDS
    reason = f"Objects and lists in a message may be nested {depth} deep; it and the batch may have {most} fields."
    return [fault("", "wrong_type", reason)]


def _one_by_one(form: _Form, config: Sms) -> tuple[_LooseBatch, _Items]:
    loose = decode(form.envelope, _LooseBatch, config=config)
    found: _Items = []
    wrong = 0
    for raw in decoder(list[msgspec.Raw]).decode(form.listed):
        try:
            item = decode(raw, MessageRequest, config=config, explain=wrong < MOST_EXPLAINED)
        except InvalidRequest as refused:
            wrong += 1
            found.append(refused.errors)
        else:
            found.append((item, item.to))
    return loose, found


def _broadcast(form: _Form, config: Sms) -> tuple[BroadcastRequest, _Items]:
    broadcast = decode(form.envelope, BroadcastRequest, config=config)
    recipients: list[str | None]
    try:
        recipients = decoder(list[str]).decode(form.listed)
    except DECODE_ERRORS:  # at least one is not a string
        recipients = [_string(raw) for raw in decoder(list[msgspec.Raw]).decode(form.listed)]
    return broadcast, [[_NOT_A_STRING] if to is None else (broadcast, to) for to in recipients]


def _string(raw: msgspec.Raw) -> str | None:
    try:
        found: str = decoder(str).decode(raw)
    except DECODE_ERRORS:
        return None
    return found


def _length_error(field: str, config: Sms, number: str) -> FieldError:
    reason = f"A batch has 1 to {config.max_batch} messages, this one has {number}."
    return fault(field, "invalid_length", reason)


def _check(config: Sms) -> Check:
    return functools.partial(validation.check, config=config)


def customer_id(text: str) -> tuple[UUID | None, list[FieldError]]:
    """A customer's id, or None and the error."""
    try:
        return ids.from_text(text), []
    except ValueError:
        return None, [validation.NO_CUSTOMER_ID]
