"""Everything that is wrong with a body.

msgspec checks types while it decodes, in microseconds, but tells of the first fault only. When it finds one, the body
is read again field by field, so that the answer names every wrong field. Values of the right type are judged by
`CHECKS`, which an accepted request's fields pass too (`apps.sms.accept.drafts`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any, Final

import msgspec
from django.conf import settings

from apps.customers.callback_urls import url_complaint
from apps.sms import encoding, numbers, senders
from smsgateway import ids
from smsgateway.config.groups import Sms
from smsgateway.config.partitioning import SEND_AHEAD_DAYS
from smsgateway.http.field_errors import FieldError, fault
from smsgateway.http.value_forms import json_kind, malformed_json, wrong_value

MAX_AHEAD: Final = dt.timedelta(days=SEND_AHEAD_DAYS)

NO_CUSTOMER_ID: Final = fault("customer_id", "invalid_id", "A customer's id is a ULID: 26 letters and digits.")


def of_body(body: bytes, kind: type[msgspec.Struct], config: Sms, error: Exception) -> list[FieldError]:
    """Everything that is wrong with a body that could not be read as `kind`; `error` is what reading it raised."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return [malformed_json(body, error)]
    if not isinstance(document, dict):
        return [fault("", "wrong_type", f"It must be a JSON object, not {json_kind(document)}.")]
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    found = [
        fault(_printable(name), "unknown_field", f"There is no such field; fields are {', '.join(fields)}.")
        for name in sorted(document.keys() - fields.keys())
    ]
    for name, field in fields.items():
        if name in document:
            value = _as_sent(document) if name == "text" else document[name]
            found += _of_value(name, value, field.type, config)
        elif field.required:
            found.append(fault(name, "missing", "This field is required."))
    return found or [malformed_json(body, error)]


def _as_sent(document: dict[str, Any]) -> object:
    """The text of a message as it would be sent, if it is a text."""
    text = document["text"]
    if not isinstance(text, str) or document.get("transliterate") is not True:
        return text
    wish: encoding.Wish = encoding.UCS2 if document.get("encoding") == encoding.UCS2 else encoding.AUTO
    return encoding.prepare(text, transliterate=True, wish=wish)


def _of_value(name: str, value: object, kind: Any, config: Sms) -> list[FieldError]:
    if _has_lone_surrogate(value):
        return [fault(name, "invalid_characters", "It has half of a surrogate pair.")]
    if kind == list[msgspec.Raw]:  # its items are read one by one, later
        kind = list[Any]
    if wrong := wrong_value(name, value, kind):
        return [wrong]
    return CHECKS[name](msgspec.convert(value, kind), config) if name in CHECKS else []


def repeated(name: str) -> FieldError:
    """The body has this field twice in one object."""
    return fault(_printable(name), "repeated", "This field may be given once.")


def too_long(field: str, length: int, longest: int, unit: str = "characters") -> FieldError:
    """The field is longer than is taken."""
    return fault(field, "too_long", f"It has {length} {unit}, at most {longest} are taken.")


def _has_lone_surrogate(value: object) -> bool:
    match value:
        case str():
            return not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value)
        case dict():
            return any(_has_lone_surrogate(part) for pair in value.items() for part in pair)
        case list():
            return any(map(_has_lone_surrogate, value))
    return False


def _printable(name: str) -> str:
    return name[:100].encode("ascii", "backslashreplace").decode("ascii")


def _of_customer_id(value: str, _config: Sms) -> list[FieldError]:
    try:
        ids.from_text(value)
    except ValueError:
        return [NO_CUSTOMER_ID]
    return []


def of_number(reason: numbers.NotMobile) -> FieldError:
    """The recipient is no mobile number."""
    return fault("to", "invalid_number", f"The number {reason}.")


def _of_to(value: str | list[Any], config: Sms) -> list[FieldError]:
    if isinstance(value, str):
        try:
            numbers.plan_of(config).to_e164(value)
        except numbers.NotMobile as reason:
            return [of_number(reason)]
    return []


def of_sender(reason: senders.InvalidSender) -> FieldError:
    """The sender id cannot be sent."""
    return fault("from", "invalid_sender", str(reason))


def _of_from(value: str, _config: Sms) -> list[FieldError]:
    try:
        if value:  # an empty one is no sender
            senders.sender_id(value)
    except senders.InvalidSender as reason:
        return [of_sender(reason)]
    return []


def of_text(value: str, config: Sms) -> list[FieldError]:
    """The text, as it would be sent, is empty, too long, or has what no database keeps."""
    if not value:
        return [fault("text", "empty", "Nothing of it is left to send.")]
    found = [too_long("text", len(value), config.max_length)] if len(value) > config.max_length else []
    return found + _nul("text", value)


def _nul(field: str, value: str) -> list[FieldError]:
    if "\x00" not in value:
        return []
    return [fault(field, "invalid_characters", "It has a NUL character, which no database text keeps.")]


def of_callback_url(value: str, _config: Sms) -> list[FieldError]:
    """The address is none that may be called."""
    return of_url("callback_url", value) if value else []


def of_url(field: str, value: str) -> list[FieldError]:
    """The address is none that may be called; empty is none either."""
    complaint = url_complaint(value, config=settings.CONFIG.callback)
    return [fault(field, "invalid_url", complaint)] if complaint else []


def of_metadata(value: dict[str, str], _config: Sms) -> list[FieldError]:
    """A key or a value has what no database keeps."""
    return _nul("metadata", "".join(part for pair in value.items() for part in pair))


def _of_send_at(value: dt.datetime, _config: Sms) -> list[FieldError]:
    return of_send_at(value, now=dt.datetime.now(tz=dt.UTC))


def of_send_at(value: dt.datetime, *, now: dt.datetime) -> list[FieldError]:
    """The time is over, or too far ahead."""
    if now < value <= now + MAX_AHEAD:
        return []
    return [fault("send_at", "out_of_range", f"It must lie ahead, by {MAX_AHEAD.days} days at most.")]


CHECKS: Final[dict[str, Callable[[Any, Sms], list[FieldError]]]] = {
    "customer_id": _of_customer_id,
    "to": _of_to,
    "text": of_text,
    "from": _of_from,
    "reference": lambda value, _config: _nul("reference", value),
    "send_at": _of_send_at,
    "callback_url": of_callback_url,
    "url": lambda value, _config: of_url("url", value),
    "metadata": of_metadata,
}
