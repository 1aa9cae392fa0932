"""Decoding a JSON body: every wrong field is named, and names may not be repeated."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smsgateway.errors import InvalidRequest
from smsgateway.http.body import decode_body
from smsgateway.http.field_errors import FieldError, fault


class Order(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A body with a required field, an optional one, and an object with the caller's own names."""

    item: str
    count: int = 1
    labels: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


def no_sand(name: str, value: Any, _document: dict[str, Any]) -> list[FieldError]:
    return [fault(name, "sold_out", "There is no sand.")] if value == "sand" else []


def codes(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as refused:
        decode_body(body, Order, check=no_sand)
    return [(error["field"], error["code"]) for error in refused.value.errors]


def test_a_valid_body_is_decoded() -> None:
    order = decode_body(b'{"item": "item", "labels": {"count": "a"}}', Order)
    assert (order.item, order.count, order.labels) == ("item", 1, {"count": "a"})


def test_every_wrong_field_is_named_also_those_whose_type_is_right() -> None:
    assert codes(b'{"item": "sand", "count": "2", "colour": 1}') == [
        ("colour", "unknown_field"),
        ("item", "sold_out"),
        ("count", "wrong_type"),
    ]
    assert codes(b'{"count": "2"}') == [("item", "missing"), ("count", "wrong_type")]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"item": "a", "item": "b"}', "item"),
        (rb'{"item": "a", "\u0069tem": "b"}', "item"),
        (b'{"item": "a", "labels": {"x": "1", "x": "2"}}', "x"),
        (b'{"item": "a", "labels": {"item": "1", "item": "2"}}', "item"),
    ],
)
def test_a_repeated_name_is_refused(body: bytes, name: str) -> None:
    assert codes(body) == [(name, "repeated")]
