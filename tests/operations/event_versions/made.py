"""An event of each type with every field set, made from its struct alone."""

from __future__ import annotations

import typing
from types import ModuleType
from typing import Any

import msgspec

_BY_NAME = {
    "message_id": "01M85WEYCNSSN7STBNMSVHQ0Y8",
    "customer_id": "01M85WEX1V5DRSABARX08QE0G2",
    "status": "delivered",
    "to": "+989121234567",
    "priority": "otp",
}


def made(module: ModuleType) -> dict[str, Any]:
    """By type: every event of a version's module."""
    return {msgspec.inspect.type_info(struct).tag: _struct(struct) for struct in typing.get_args(module.AnyEvent)}


def _struct(struct: type) -> Any:
    info = msgspec.inspect.type_info(struct)
    return struct(**{field.name: _value(field.name, field.type) for field in info.fields})


def _value(name: str, kind: Any) -> Any:
    match kind:
        case msgspec.inspect.StrType():
            return _BY_NAME.get(name, f"some {name}")
        case msgspec.inspect.IntType():
            return 1 if name == "v" else 7
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            return (_value(name, kind.item_type),)
        case msgspec.inspect.StructType():
            return _struct(kind.cls)
        case msgspec.inspect.UnionType():
            return _value(name, next(part for part in kind.types if not isinstance(part, msgspec.inspect.NoneType)))
        case msgspec.inspect.FloatType():
            return 7.5
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.BytesType():
            return b"\0\xff"
        case msgspec.inspect.LiteralType():
            return kind.values[0]
        case msgspec.inspect.DictType():
            return {"some": _value(name, kind.value_type)}
        case _:
            raise NotImplementedError(f"{name}: {kind}")
