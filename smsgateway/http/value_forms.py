"""Explains what is wrong with a value of a JSON document, in words for callers of any programming language.

msgspec's own messages name Python types and leave out the choices; these are built from the field's type.
"""

from __future__ import annotations

import codecs
import functools
import re
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import inspect

from smsgateway.http.field_errors import FieldError, fault

_TIME: Final = "a time with its offset from UTC, such as 2030-01-31T08:00:00Z"
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_UTF_16_OR_32: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def wrong_value(name: str, value: object, kind: Any, *, strict: bool = True) -> FieldError | None:
    """What is wrong with the value of this field, which must have the type `kind`; None if it is valid.

    Not strict: a number may be a string, as in forms.
    """
    try:
        msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError:
        code, subject = _of_type(value, _type_info(kind), "It")
        return fault(name, code, f"{subject}.")
    return None


def malformed_json(body: bytes, error: Exception) -> FieldError:
    """Why the body is not a JSON document; `error` is what decoding it raised."""
    return fault("", "malformed_json", f"The body is not a JSON document: {_malformation(body, error)}.")


def json_kind(value: object) -> str:
    """The kind of a JSON value, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():  # operators' documents are read with Decimal
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
    return "an object"


def form(kind: inspect.Type) -> str:
    """The form of values of this type, in words. A type with a pattern gives its own: `Meta(extra={"form": "…"})`."""
    match kind:
        case inspect.Metadata():
            return str((kind.extra or {}).get("form") or form(kind.type))
        case inspect.StrType():
            return "a string" + _bounds(kind.min_length, kind.max_length, "character")
        case inspect.IntType():
            return "a whole number" + _range(kind.ge, kind.le)
        case inspect.FloatType():
            return "a number" + _range(kind.ge, kind.le)
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case inspect.DateTimeType():
            return _TIME
        case inspect.ListType():
            return "a list" + _bounds(kind.min_length, kind.max_length, "item")
        case inspect.UnionType():
            return " or ".join(map(form, kind.types))
    return "a JSON object" if isinstance(kind, inspect.DictType | inspect.StructType) else "a JSON value"


def required_form(kind: Any) -> str:
    """The form of values of a field's type, in words."""
    return form(_type_info(kind))


@functools.cache
def _type_info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _of_type(value: object, kind: inspect.Type, subject: str) -> tuple[str, str]:
    """The error code, and a sentence about `subject`."""
    described, kind = kind, _plain(kind, value)
    match kind, value:
        case inspect.ListType(), list():
            return _of_list(value, kind, subject)
        case inspect.DictType(), dict():
            return _of_dict(value, kind, subject)
        case inspect.StrType(), str() if _within(len(value), kind.min_length, kind.max_length):
            return "invalid_value", f"{subject} must be {form(described)}"
        case inspect.StrType(), str():
            return _of_length(len(value), kind.min_length, kind.max_length, "character", subject)
        case inspect.LiteralType(), str() | int() if type(value) in map(type, kind.values):
            return "invalid_value", f"{subject} must be {form(kind)}"
        case inspect.DateTimeType(), str():
            return "invalid_time", f"{subject} must be {form(kind)}"
        case ((inspect.IntType() | inspect.FloatType()), int()) if not isinstance(value, bool):
            return "out_of_range", f"{subject} must be {form(kind)}"
        case inspect.IntType(), (float() | Decimal()):
            return "wrong_type", f"{subject} must be {form(kind)}"
    return "wrong_type", f"{subject} must be {form(described)}, not {json_kind(value)}"


def _of_list(value: list[Any], kind: inspect.ListType, subject: str) -> tuple[str, str]:
    if not _within(len(value), kind.min_length, kind.max_length):
        return _of_length(len(value), kind.min_length, kind.max_length, "item", subject)
    for number, item in enumerate(value, start=1):
        if not _fits(item, kind.item_type):
            return _of_type(item, kind.item_type, f"Item {number}")
    return "wrong_type", f"{subject} must be {form(kind)}"


def _of_dict(value: dict[str, Any], kind: inspect.DictType, subject: str) -> tuple[str, str]:
    if not _within(len(value), kind.min_length, kind.max_length):
        return _of_length(len(value), kind.min_length, kind.max_length, "entry", subject)
    for number, (name, item) in enumerate(value.items(), start=1):
        if not _fits(name, kind.key_type):
            return _of_type(name, kind.key_type, f"The name of entry {number}")
        if not _fits(item, kind.value_type):
            return _of_type(item, kind.value_type, f"The value of entry {number}")
    return "wrong_type", f"{subject} must be {form(kind)}"


def _of_length(length: int, lowest: int | None, longest: int | None, unit: str, subject: str) -> tuple[str, str]:
    if longest is not None and length > longest:
        verb = "are" if longest != 1 else "is"
        return "too_long", f"{subject} has {_count(length, unit)}, at most {longest} {verb} allowed"
    return "empty", f"{subject} must have at least {_count(lowest or 1, unit)}"


def _fits(value: object, kind: inspect.Type) -> bool:
    """Whether the value has this type. Items of lists and objects are plain: strings, numbers, choices."""
    kind = _plain(kind, value)
    match kind, value:
        case inspect.AnyType() | inspect.RawType(), _:
            return True
        case inspect.StrType(), str():
            return _within(len(value), kind.min_length, kind.max_length)
        case inspect.LiteralType(), str() | int():
            return value in kind.values
    return False


def _plain(kind: inspect.Type, value: object) -> inspect.Type:
    """The type without its description; of a union, the member that is nearest to this JSON value."""
    if isinstance(kind, inspect.Metadata):
        return _plain(kind.type, value)
    if isinstance(kind, inspect.UnionType):
        return next((one for one in kind.types if _is_near(one, value)), kind)
    return kind


def _is_near(kind: inspect.Type, value: object) -> bool:
    strings = inspect.StrType | inspect.LiteralType | inspect.DateTimeType
    numbers = inspect.IntType | inspect.FloatType
    match value:
        case str():
            return isinstance(kind, strings)
        case bool() | None:
            return False
        case int() | float() | Decimal():  # operators' documents are read with Decimal
            return isinstance(kind, numbers)
    return isinstance(kind, inspect.ListType if isinstance(value, list) else inspect.DictType | inspect.StructType)


def _within(length: int, lowest: int | None, longest: int | None) -> bool:
    return (lowest or 0) <= length and (longest is None or length <= longest)


def _bounds(lowest: int | None, longest: int | None, unit: str) -> str:
    if longest is None:
        return f" of at least {_count(lowest, unit)}" if lowest else ""
    return f" of {lowest} to {_count(longest, unit)}" if lowest else f" of at most {_count(longest, unit)}"


def _count(number: int, unit: str) -> str:
    plural = unit.removesuffix("y") + "ies" if unit.endswith("y") else unit + "s"
    return f"{number} {unit if number == 1 else plural}"


def _range(lowest: float | None, highest: float | None) -> str:
    if lowest is None and highest is None:
        return ""
    if highest is None:
        return f" of at least {lowest}"
    return f" of at most {highest}" if lowest is None else f" from {lowest} to {highest}"


def _malformation(body: bytes, error: Exception) -> str:
    if not body.strip():
        return "it is empty"
    if body.startswith(_UTF_16_OR_32) or b"\x00" in body[:4]:
        return "it is encoded in UTF-16 or UTF-32; send UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    try:
        body.decode()
    except UnicodeDecodeError as broken:
        return f"byte {broken.start} is not UTF-8"
    if "trailing characters" in str(error):
        return "there is more text after its end"
    if place := _place(error):
        return f"it cannot be read at {place}"
    return "it ends too early, or a number in it is too large"


def _place(error: Exception) -> str:
    found = _BYTE.search(str(error))
    return f"byte {found[1]}" if found else ""
