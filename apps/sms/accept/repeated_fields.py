"""Finds a field that one JSON object has twice: readers disagree on which of the two counts, so it is refused.

msgspec takes the last one in silence.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, Final

import msgspec

# A letter of a name may be written as \\u0074, and then counting misses it.
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]")
# Its names are the customer's own.
_METADATA: Final = b'"metadata"'


class _Repeated(Exception):
    """The name that an object has twice."""


def repeated_in_struct(body: bytes, kind: type[msgspec.Struct]) -> str | None:
    """The same as `repeated_in`, for a body that was decoded as this struct.

    The names are counted as they stand in the body, which costs half as much; only if one is there twice, perhaps as a
    value, is the body read again.
    """
    suspect = (
        any(body.count(name) > 1 for name in _quoted_names(kind))
        or _METADATA in body
        or _ESCAPED_LETTER.search(body) is not None
    )
    return repeated_in(body) if suspect else None


def repeated_in(body: bytes) -> str | None:
    """A name that stands twice in one object of this valid JSON document; None if there is none."""
    try:
        json.loads(body, object_pairs_hook=_once)
    except _Repeated as repeated:
        return str(repeated)
    return None


@functools.cache
def _quoted_names(kind: type[msgspec.Struct]) -> tuple[bytes, ...]:
    return tuple(f'"{name}"'.encode() for name in kind.__struct_encode_fields__)


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise _Repeated(name)
        seen.add(name)
