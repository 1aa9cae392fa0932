"""Finds the fields of a JSON object, and counts the items of a list, without decoding a value.

A decoder makes an object of each item before anybody can count them: 1,700,000 empty objects fit into a gzip body of
5 kB, and would take some hundred megabytes. These patterns skip values instead. No part of them ever gives back what it
has matched (`++`, `*+`), so the time is linear in the length.

They do not check that a document is valid JSON: whoever decodes it afterwards does.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import msgspec

MAX_DEPTH: Final = 4
"""Lists and objects in a field may be nested this deep. A batch has a list of objects with objects (metadata)."""
MAX_FIELDS: Final = 1000

_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'


def _value(depth: int) -> bytes:
    """The pattern of a value that is nested so deep at most, with the white space around it."""
    nested = rb"[\[{](?:[^\"\[\]{}]++|%s)*+[\]}]" % _STRING
    for _ in range(depth - 1):
        nested = rb"[\[{](?:[^\"\[\]{}]++|%s|%s)*+[\]}]" % (_STRING, nested)
    return rb"(?:[^\"\[\]{},]++|%s|%s)++" % (_STRING, nested)


_BEGIN: Final = re.compile(rb"[ \t\r\n]*+\{[ \t\r\n]*+")
_FIELD: Final = re.compile(rb"[ \t\r\n]*+(%s)[ \t\r\n]*+:(%s)([,}])" % (_STRING, _value(MAX_DEPTH)), re.DOTALL)


class NoOutline(Exception):
    """The document is not an object, not valid JSON, nested too deeply, or has too many fields"""


class RepeatedField(Exception):
    """The name of a field that the object has twice"""


def fields(document: bytes) -> dict[str, slice]:
    """Where the values of an object's fields are, without the white space around. Raises NoOutline or RepeatedField."""
    begin = _BEGIN.match(document)
    if begin is None:
        raise NoOutline
    position = begin.end()
    found: dict[str, slice] = {}
    while len(found) < MAX_FIELDS:
        field = _FIELD.match(document, position)
        if field is None:
            break
        name = _name(field[1])
        if name in found:
            raise RepeatedField(name)
        start, end = field.span(2)
        start, end = end - len(field[2].lstrip()), start + len(field[2].rstrip())
        found[name] = slice(start, end)
        if field[3] == b"}":
            return found
        position = field.end()
    if not found and document[position : position + 1] == b"}":
        return found
    raise NoOutline


def _name(written: bytes) -> str:
    try:
        return msgspec.json.decode(written, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NoOutline from None


def has_more_items(document: bytes, most: int) -> bool:
    """True if this list has more than `most` items; False also if it is not a list, or not valid JSON before there."""
    # This counts the commas in texts too, so there are at most that many items.
    return document.count(b",") >= most and _longer(most).match(document) is not None


@functools.cache
def _longer(most: int) -> re.Pattern[bytes]:
    return re.compile(rb"\[(?:%s,){%d}+" % (_value(MAX_DEPTH - 1), most), re.DOTALL)
