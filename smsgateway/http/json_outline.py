"""Finds the fields of a JSON object, and counts the items of its lists, without decoding a value.

A decoder makes an object of each item before anybody can count them: 1,700,000 empty objects fit into a gzip body of
5 kB, and would take some hundred megabytes. These patterns skip values instead. No part of them ever gives back what it
has matched (`++`, `*+`), so the time is linear in the length. Each match is short, because other threads wait for it:
the interpreter's lock is not released within one.

They do not check that a document is valid JSON: the decoder does that afterwards.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

MAX_DEPTH: Final = 2
"""Lists and objects in a field, or in an item of a list, may be nested this deep: messages have metadata."""
MAX_FIELDS: Final = 1000
"""An object has at most this many fields."""
MAX_PARTS: Final = (200, 1000)
"""A list or object has at most so many parts, by its depth, the deepest first.

A part is a text, a list, an object, or what stands between two of these: a field takes two or four.
"""

_SPACE: Final = rb"[ \t\r\n]*+"
_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'


def _value() -> bytes:
    """The pattern of a value, with the white space around it."""
    nested = b""
    for most in MAX_PARTS:
        nested = rb"[\[{](?:[^\"\[\]{}]++|%s%s){0,%d}+[\]}]" % (_STRING, b"|" + nested if nested else b"", most)
    return rb"(?:[^\"\[\]{},]++|%s|%s)++" % (_STRING, nested)


_BEGIN: Final = re.compile(rb"%s\{%s" % (_SPACE, _SPACE))
_NAME: Final = re.compile(rb"%s(%s)%s:%s" % (_SPACE, _STRING, _SPACE, _SPACE), re.DOTALL)
_VALUE: Final = re.compile(_value(), re.DOTALL)
_REST: Final = re.compile(rb"%s([,}])" % _SPACE)
_EMPTY: Final = re.compile(rb"\[%s\]" % _SPACE)
_ITEM: Final = re.compile(rb"%s([,\]])" % _value(), re.DOTALL)


class NoOutline(Exception):
    """The document is not an object, not valid JSON, nested too deeply, or has too many fields"""


class NamedField(Exception):
    """An error about the field with this name"""


class RepeatedField(NamedField):
    """The object has this field twice"""


class TooManyItems(NamedField):
    """The list in this field is too long"""


def fields(document: bytes, *, most_items: int) -> dict[str, slice]:
    """Where the values of an object's fields are, without the white space around.

    Raises NoOutline, RepeatedField, or TooManyItems if a list has more items. It looks at nothing that follows.
    """
    begin = _BEGIN.match(document)
    if begin is None:
        raise NoOutline
    position = begin.end()
    found: dict[str, slice] = {}
    if document[position : position + 1] == b"}":
        return found
    while len(found) < MAX_FIELDS:
        name, position = _name(document, position)
        if name in found:
            raise RepeatedField(name)
        end = _end(document, position, name, most_items)
        found[name] = slice(position, position + len(document[position:end].rstrip()))
        rest = _REST.match(document, end)
        if rest is None:
            break
        if rest[1] == b"}":
            return found
        position = rest.end()
    raise NoOutline


def _name(document: bytes, position: int) -> tuple[str, int]:
    """The name of the field that begins here, and where its value begins."""
    field = _NAME.match(document, position)
    if field is None:
        raise NoOutline
    try:
        return msgspec.json.decode(field[1], type=str), field.end()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NoOutline from None


def _end(document: bytes, position: int, name: str, most_items: int) -> int:
    """Where the value that begins here ends, perhaps with white space after it."""
    if document[position : position + 1] != b"[":
        value = _VALUE.match(document, position)
        if value is None:
            raise NoOutline
        return value.end()
    if empty := _EMPTY.match(document, position):
        return empty.end()
    position += 1
    for _ in range(most_items):
        item = _ITEM.match(document, position)
        if item is None:
            raise NoOutline
        position = item.end()
        if item[1] == b"]":
            return position
    raise TooManyItems(name)
