"""Decodes a JSON body as a struct, or reports every field that is wrong.

msgspec checks types while it decodes, in microseconds, but reports only the first error. When it finds one, the body is
read again field by field, so that the response names every wrong field.
"""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from smsgateway.errors import InvalidRequest
from smsgateway.http.field_errors import FIX_FIELDS, FieldError, fault
from smsgateway.http.repeated_fields import repeated_in, repeated_in_struct
from smsgateway.http.value_forms import json_kind, malformed_json, wrong_value

Request = TypeVar("Request", bound=msgspec.Struct)
# What else is wrong with a field whose value has the right type: of its name, its value, and the whole document.
Check = Callable[[str, Any, dict[str, Any]], list[FieldError]]

DECODE_ERRORS: typing.Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def no_check(_name: str, _value: Any, _document: dict[str, Any]) -> list[FieldError]:
    """The `Check` of a body whose types say everything."""
    return []


@functools.cache
def decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    """The decoder of this type, made once."""
    return msgspec.json.Decoder(kind)


def decode_body(body: bytes | msgspec.Raw, kind: type[Request], *, check: Check = no_check) -> Request:
    """The body as `kind`. Raises InvalidRequest that names every field that is missing, unknown, repeated or wrong.

    `check` runs only for a body that could not be decoded: it completes the list of errors. The caller still checks the
    values of a body that could.
    """
    try:
        found = typing.cast(Request, decoder(kind).decode(body))
    except DECODE_ERRORS as error:
        raise InvalidRequest(FIX_FIELDS, errors=_errors_of(bytes(body), kind, check, error)) from None
    _refuse(repeated_in_struct(bytes(body), kind))
    return found


def require_unique_names(body: bytes) -> None:
    """Raises InvalidRequest if an object of this valid JSON document has a name twice."""
    _refuse(repeated_in(body))


def _refuse(repeated: str | None) -> None:
    if repeated is not None:
        error = fault(_printable(repeated), "repeated", "This field may be given once.")
        raise InvalidRequest(FIX_FIELDS, errors=[error])


def _errors_of(body: bytes, kind: type[msgspec.Struct], check: Check, error: Exception) -> list[FieldError]:
    """Everything that is wrong with a body that could not be decoded as `kind`. `error`: what decoding raised."""
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
            found += _errors_of_value(name, document, field.type, check)
        elif field.required:
            found.append(fault(name, "missing", "This field is required."))
    return found or [malformed_json(body, error)]


def _errors_of_value(name: str, document: dict[str, Any], kind: Any, check: Check) -> list[FieldError]:
    value = document[name]
    if _has_lone_surrogate(value):
        return [fault(name, "invalid_characters", "It has half of a surrogate pair.")]
    if kind == list[msgspec.Raw]:  # its items are decoded one by one, later
        kind = list[Any]
    if wrong := wrong_value(name, value, kind):
        return [wrong]
    return check(name, msgspec.convert(value, kind), document)


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
