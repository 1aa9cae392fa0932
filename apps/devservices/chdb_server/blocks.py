"""Finds the end of a block of FORMAT Native without decoding it.

A block has the number of its rows, not of its bytes, so its types must be known to skip it. Only the lengths of
strings are read one by one, and that in compiled code.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Final

from apps.devservices.chdb_server.wire import NativeReader, ProtocolError

FIXED_BYTES: Final = {
    **{"Bool": 1, "UInt8": 1, "Int8": 1, "Enum8": 1},
    **{"UInt16": 2, "Int16": 2, "Enum16": 2, "Date": 2},
    **{"UInt32": 4, "Int32": 4, "Float32": 4, "Date32": 4, "DateTime": 4, "IPv4": 4},
    **{"UInt64": 8, "Int64": 8, "Float64": 8, "DateTime64": 8},
    **{"UInt128": 16, "Int128": 16, "UUID": 16, "IPv6": 16},
    **{"UInt256": 32, "Int256": 32},
}
DECIMAL_BYTES: Final = ((9, 4), (18, 8), (38, 16), (76, 32))
"""Most digits, bytes."""


class UnknownTypeError(ProtocolError):
    """A column type whose length this server cannot determine."""


@dataclasses.dataclass(frozen=True, slots=True)
class Type:
    """A column type such as `Array(LowCardinality(String))`: its name and its arguments, as written."""

    name: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, written: str) -> Type:
        name, opened, rest = written.strip().partition("(")
        return cls(name, tuple(_split(rest.removesuffix(")"))) if opened else ())

    def inner(self) -> Iterator[Type]:
        """The types of the columns that make up this one."""
        for argument in self.arguments:
            # An element of a tuple may have a name: `Tuple(code UInt8, text String)`.
            named = re.fullmatch(r"(?:\w+|`[^`]+`) ([A-Z].*)", argument, re.DOTALL)
            yield Type.parse(named[1] if self.name == "Tuple" and named else argument)


def skip_block(reader: NativeReader, *, columns: int, rows: int) -> list[tuple[str, str]]:
    """Pass over a block, after its number of columns and of rows; the names and types of its columns.

    UnknownTypeError if one has no known length.
    """
    described = []
    for _ in range(columns):
        name, written = reader.text(), reader.text()
        described.append((name, written))
        if rows:
            kind = Type.parse(written)
            _skip_prefix(reader, kind)
            _skip_values(reader, kind, rows)
    return described


def columns_of(block: bytes) -> list[tuple[str, str]]:
    """Names and types of the columns of a block of FORMAT Native. UnknownTypeError as above."""
    reader = NativeReader(block)
    return skip_block(reader, columns=reader.varint(), rows=reader.varint())


def _skip_prefix(reader: NativeReader, kind: Type) -> None:
    if kind.name == "LowCardinality":
        reader.skip(8)  # version of the dictionary
    elif kind.name in ("Array", "Nullable", "Tuple", "Map"):
        for inner in kind.inner():
            _skip_prefix(reader, inner)


def _skip_values(reader: NativeReader, kind: Type, rows: int) -> None:
    if not rows:
        return
    if (size := _fixed_bytes(kind)) is not None:
        reader.skip(size * rows)
    elif kind.name == "String":
        reader.read_strings_arrow(rows)
    elif kind.name == "Nullable":
        reader.skip(rows)
        _skip_values(reader, next(kind.inner()), rows)
    elif kind.name == "LowCardinality":
        _skip_dictionary_column(reader, next(kind.inner()))
    elif kind.name in ("Array", "Map"):
        reader.skip(8 * (rows - 1))
        elements = reader.uint64()  # the last offset
        for inner in kind.inner():
            _skip_values(reader, inner, elements)
    elif kind.name == "Tuple":
        for inner in kind.inner():
            _skip_values(reader, inner, rows)
    else:
        raise UnknownTypeError(f"Columns of type {kind.name} are not supported by the development server")


def _skip_dictionary_column(reader: NativeReader, kind: Type) -> None:
    index_bytes = 1 << (reader.uint64() & 0xFF)  # the lowest byte of the flags: UInt8, 16, 32 or 64
    keys = next(kind.inner()) if kind.name == "Nullable" else kind
    _skip_values(reader, keys, reader.uint64())
    reader.skip(index_bytes * reader.uint64())


def _fixed_bytes(kind: Type) -> int | None:
    if kind.name == "FixedString":
        return int(kind.arguments[0])
    if kind.name == "Decimal":
        digits = int(kind.arguments[0])
        return next(size for most, size in DECIMAL_BYTES if digits <= most)
    return FIXED_BYTES.get(kind.name)


def _split(arguments: str) -> Iterator[str]:
    """Split at the commas outside of parentheses and quotes."""
    depth = start = 0
    for match in re.finditer(r"'(?:\\.|[^'\\])*'|[(),]", arguments, re.DOTALL):
        found = match[0]
        depth += (found == "(") - (found == ")")
        if found == "," and not depth:
            yield arguments[start : match.start()].strip()
            start = match.end()
    yield arguments[start:].strip()
