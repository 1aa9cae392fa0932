"""Decodes a JSON body as a struct, or reports every field that is wrong.

msgspec checks types while it decodes, in microseconds, but reports only the first error. When it finds one, the body is
read again field by field, so that the response names every wrong field. That is slow, so it is done for bodies of a
message's size only; of a larger one only the first error is named.
"""

from __future__ import annotations

import functools
import json
import re
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from smsgateway.errors import InvalidRequest
from smsgateway.http.field_errors import FIX_FIELDS, FieldError, fault
from smsgateway.http.repeated_fields import repeated_in, repeated_in_struct
from smsgateway.http.value_forms import json_kind, malformed_json, required_form, wrong_value

Request = TypeVar("Request", bound=msgspec.Struct)
# What else is wrong with a field whose value has the right type: of its name, its value, and the whole document.
Check = Callable[[str, Any, dict[str, Any]], list[FieldError]]

DECODE_ERRORS: typing.Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
MOST_EXPLAINED: typing.Final = 262_144
"""Of a larger body, in bytes, only the first error is named."""

# msgspec's messages: Object missing required field `to`; Object contains unknown field `x`; Expected `str`, got `int` -
# at `$.to`.
_MISSING: typing.Final = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN: typing.Final = re.compile(r"Object contains unknown field `(.*)`")
_PLACE: typing.Final = re.compile(r" - at `\$\.(\w+)")


def no_check(_name: str, _value: Any, _document: dict[str, Any]) -> list[FieldError]:
    """The `Check` of a body whose types say everything."""
    return []


@functools.cache
def decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    """The decoder of this type, made once."""
    return msgspec.json.Decoder(kind)


def decode_body(
    body: bytes | msgspec.Raw, kind: type[Request], *, check: Check = no_check, explain: bool = True
) -> Request:
    """The body as `kind`. Raises InvalidRequest that names every field that is missing, unknown, repeated or wrong.

    `check` runs only for a body that could not be decoded: it completes the list of errors. The caller still checks the
    values of a body that could. Without `explain` the error names no field, which takes a hundredth of the time.
    """
    try:
        found = typing.cast(Request, decoder(kind).decode(body))
    except DECODE_ERRORS as error:
        errors = errors_of(bytes(body), kind, check, error) if explain else []
        raise InvalidRequest(FIX_FIELDS, errors=errors) from None
    _refuse(repeated_in_struct(bytes(body), kind))
    return found


def require_unique_names(body: bytes) -> None:
    """Raises InvalidRequest if an object of this valid JSON document has a name twice."""
    _refuse(repeated_in(body))


def repeated_error(name: str) -> InvalidRequest:
    """The error of a name that one object has twice."""
    return InvalidRequest(FIX_FIELDS, errors=[fault(_printable(name), "repeated", "This field may be given once.")])


def _refuse(repeated: str | None) -> None:
    if repeated is not None:
        raise repeated_error(repeated)


def errors_of(body: bytes, kind: type[msgspec.Struct], check: Check, error: Exception) -> list[FieldError]:
    """Everything that is wrong with a body that could not be decoded as `kind`. `error`: what decoding raised."""
    if len(body) > MOST_EXPLAINED:
        return [_first_error(body, kind, error)]
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return [malformed_json(body, error)]
    if not isinstance(document, dict):
        return [fault("", "wrong_type", f"It must be a JSON object, not {json_kind(document)}.")]
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    found = [_unknown(name, fields) for name in sorted(document.keys() - fields.keys())]
    for repetition in found[1:]:  # the list of fields once
        repetition["reason"] = "There is no such field."
    for name, field in fields.items():
        if name in document:
            found += _errors_of_value(name, document, field.type, check)
        elif field.required:
            found.append(fault(name, "missing", "This field is required."))
    return found or [malformed_json(body, error)]


def _unknown(name: str, fields: typing.Iterable[str]) -> FieldError:
    return fault(_printable(name), "unknown_field", f"There is no such field; fields are {', '.join(fields)}.")


def _first_error(body: bytes, kind: type[msgspec.Struct], error: Exception) -> FieldError:
    """What msgspec found first, in words for callers."""
    if not isinstance(error, msgspec.ValidationError):
        return malformed_json(body, error)
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    text = str(error)
    if found := _PLACE.search(text):
        name = found[1]
        return fault(name, "invalid_value", f"It must be {required_form(fields[name])}.")
    if found := _MISSING.fullmatch(text):
        return fault(found[1], "missing", "This field is required.")
    if found := _UNKNOWN.fullmatch(text):
        return _unknown(found[1], fields)
    return fault("", "wrong_type", "It must be a JSON object.")


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
