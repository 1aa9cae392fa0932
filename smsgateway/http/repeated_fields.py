"""Finds a name that one JSON object has twice. Such a body is refused, because readers disagree on which value counts.

msgspec silently takes the last one.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, Final

import msgspec
from msgspec import inspect

# A letter may be escaped, such as \\u0074 for t. Counting the names as they are written would miss it.
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]")


class _Repeated(Exception):
    """The name that an object has twice."""


def repeated_in_struct(body: bytes, kind: type[msgspec.Struct]) -> str | None:
    """As `repeated_in`, in half the time, for a body that was decoded as this struct.

    Counts the field names as they are written in the body. Parses the body again only if a name occurs twice (perhaps
    as a value), or if a name may be one that this cannot count.
    """
    names, open_fields = _quoted_names(kind)
    suspect = (
        any(body.count(name) > 1 for name in names)
        or any(name in body for name in open_fields)
        or _ESCAPED_LETTER.search(body) is not None
    )
    return repeated_in(body) if suspect else None


def repeated_in(body: bytes) -> str | None:
    """A name that occurs twice in one object of this valid JSON document, or None."""
    try:
        json.loads(body, object_pairs_hook=_require_unique)
    except _Repeated as repeated:
        return str(repeated)
    return None


@functools.cache
def _quoted_names(kind: type[msgspec.Struct]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The struct's field names as JSON writes them, and those of fields that hold an object with any names."""
    fields = msgspec.structs.fields(kind)
    open_fields = [field for field in fields if _is_open(inspect.type_info(field.type))]
    return tuple(map(_quoted, fields)), tuple(map(_quoted, open_fields))


def _quoted(field: msgspec.structs.FieldInfo) -> bytes:
    return f'"{field.encode_name}"'.encode()


def _is_open(kind: inspect.Type) -> bool:
    """True for an object whose names are the caller's own."""
    match kind:
        case inspect.Metadata():
            return _is_open(kind.type)
        case inspect.UnionType():
            return any(map(_is_open, kind.types))
    return isinstance(kind, inspect.DictType)


def _require_unique(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise _Repeated(name)
        seen.add(name)
