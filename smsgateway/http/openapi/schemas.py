"""Builds the schemas of bodies from msgspec structs, in a form that code generators handle well.

msgspec's JSON Schema is valid, but generators have trouble with parts of it: enums without a `type`, null as a branch
of `anyOf`, and defaults, which make optional fields required in TypeScript. `components` rewrites these.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from smsgateway import ids, json

REFERENCE: Final = "#/components/schemas/{name}"
EXAMPLE_ID: Final = "01M85WEYCNSSN7STBNMSVHQ0Y8"

# Types of fields of responses. They only document; nothing is validated with them.
Moment = Annotated[dt.datetime, Meta(tz=True)]
Ulid = Annotated[str, Meta(pattern=ids.PATTERN, examples=[EXAMPLE_ID])]
Amount = Annotated[
    int,
    Meta(
        description="A whole number of minor units of the currency, with the decimals of ISO 4217: "
        "1250 is 12.50 EUR, 12.50 IRR, 1250 JPY or 1.250 KWD.",
        extra_json_schema={"format": "int64"},
        examples=[100],
    ),
]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217.", examples=["IRR"])]

Kind = type[msgspec.Struct] | type[enum.Enum]

_UNIONS: Final[dict[str, tuple[str, tuple[type[msgspec.Struct], ...]]]] = {}
_TYPES: Final[dict[type, str]] = {bool: "boolean", str: "string", int: "integer", float: "number"}


def one_of(name: str, description: str, *kinds: type[msgspec.Struct]) -> dict[str, Any]:
    """Name a schema for a union of these structs, and return the reference to it.

    It has a name because generators give methods only to named types: Go code cannot fill an inline union.
    """
    _UNIONS[name] = (description, kinds)
    return {"$ref": REFERENCE.format(name=name)}


def reference(kind: Kind) -> dict[str, Any]:
    """A reference to the schema of a struct or an enumeration."""
    return {"$ref": REFERENCE.format(name=kind.__name__)}


def components(kinds: Iterable[Kind], *, requests: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """The schemas of these types, of the types they contain, and of the unions, by name.

    `requests`: names of schemas that callers send. Their defaults move into the descriptions.
    """
    members = {kind for _, union in _UNIONS.values() for kind in union}
    wanted = sorted({*kinds, *members}, key=lambda kind: kind.__name__)
    _, found = msgspec.json.schema_components(wanted, ref_template=REFERENCE)
    for name, (description, union) in _UNIONS.items():
        found[name] = {"description": description, "oneOf": [reference(kind) for kind in union]}
    for name in names_in([{"$ref": REFERENCE.format(name=name)} for name in requests], found):
        for schema in found[name].get("properties", {}).values():
            _describe_default(schema)
    return {name: _plain(schema) for name, schema in found.items()}


def names_in(part: Any, schemas: dict[str, dict[str, Any]]) -> set[str]:
    """The names of the schemas that a part of a document refers to, directly or indirectly."""
    found: set[str] = set()
    waiting = [part]
    while waiting:
        for name in re.findall(r'"#/components/schemas/(\w+)"', json.encode(waiting.pop()).decode()):
            if name not in found:
                found.add(name)
                waiting.append(schemas[name])
    return found


def inlined(part: Any, names: set[str], schemas: dict[str, dict[str, Any]]) -> Any:
    """A part of a document with references to these names replaced by their schemas."""
    if isinstance(part, list):
        return [inlined(value, names, schemas) for value in part]
    if not isinstance(part, dict):
        return part
    name = str(part.get("$ref", "")).rpartition("/")[2]
    if name in names:
        return inlined(schemas[name], names, schemas)
    return {key: inlined(value, names, schemas) for key, value in part.items()}


def _describe_default(schema: dict[str, Any]) -> None:
    """Move the default of an optional field into its description.

    openapi-typescript makes a field with a `default` required, other generators send the default with each request.
    """
    default = schema.pop("default", None)
    if default in (None, "") or default == []:
        return
    shown = json.encode(default).decode().strip('"') if not isinstance(default, list) else ", ".join(default)
    schema["description"] = f"{schema.get('description', '')} Default: `{shown}`.".strip()


def _plain(schema: Any) -> Any:
    """The schema with a type for each enum, and with null as a type instead of a branch."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(part) for name, part in schema.items()}
    if isinstance(plain.get("enum"), list) and "type" not in plain:
        (kind,) = {_TYPES[type(value)] for value in plain["enum"]}
        plain = {"type": kind} | plain
    if plain.get("properties") == {}:  # a struct without fields stands for any object
        plain["additionalProperties"] = True
    branches = plain.get("anyOf")
    if isinstance(branches, list) and {"type": "null"} in branches:
        (other, *others) = [branch for branch in branches if branch != {"type": "null"}]
        if not others and isinstance(other.get("type"), str):
            del plain["anyOf"]
            plain = other | plain | {"type": [other["type"], "null"]}
            if "enum" in plain:
                plain["enum"] = [*plain["enum"], None]
    return plain
