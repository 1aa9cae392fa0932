"""Outlines of JSON objects and lengths of lists, found without decoding, are those that a decoder finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgateway.http.json_outline import (
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_PARTS,
    NoOutline,
    RepeatedField,
    TooManyItems,
    fields,
)

TEXTS = st.text(st.sampled_from('ab"\\{}[],: \n\u0633\U0001f600\x00'), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS


def nested(depth: int) -> st.SearchStrategy[Any]:
    if not depth:
        return SCALARS
    inner = nested(depth - 1)
    return inner | st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)


def written(value: Any, indent: int | None, ascii_only: bool) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()


FORMS = st.tuples(st.sampled_from([None, 0, 2]), st.booleans())


@given(st.dictionaries(TEXTS, nested(MAX_DEPTH) | st.lists(nested(MAX_DEPTH), max_size=3), max_size=4), FORMS)
def test_fields_are_where_a_decoder_finds_them(document: dict[str, Any], form: tuple[int | None, bool]) -> None:
    body = written(document, *form)
    found = fields(body, most_items=3)
    assert {name: json.loads(body[place]) for name, place in found.items()} == document
    assert all(body[place] == body[place].strip() for place in found.values())


@given(st.lists(nested(MAX_DEPTH), max_size=6), FORMS, st.integers(1, 7))
def test_items_are_counted_like_a_decoder_counts_them(
    items: list[Any], form: tuple[int | None, bool], most: int
) -> None:
    body = written({"a": 1, "items": items}, *form)
    if len(items) > most:
        with pytest.raises(TooManyItems, match="items"):
            fields(body, most_items=most)
    else:
        assert json.loads(body[fields(body, most_items=most)["items"]]) == items


@given(st.binary(max_size=30) | st.text('{}[]",:\\ 1a', max_size=30).map(str.encode), st.integers(1, 3))
def test_any_bytes_are_survived(body: bytes, most: int) -> None:
    try:
        fields(body, most_items=most)
    except (NoOutline, RepeatedField, TooManyItems):
        return
    assert body.lstrip(b" \t\r\n").startswith(b"{")


def test_a_name_that_is_given_twice_is_found_in_any_spelling() -> None:
    for second in ('"to"', '"\\u0074o"', '"\\u0074\\u006f"'):
        with pytest.raises(RepeatedField, match="to"):
            fields(f'{{"to": [1, {{"to": 2}}], {second}: 3}}'.encode(), most_items=9)
    assert fields(b'{"to": {"to": 1}, "text": "to"}', most_items=9).keys() == {"to", "text"}


DEEPEST = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH


def test_values_of_a_usual_depth_and_size_have_an_outline() -> None:
    for value in (DEEPEST, b"[" + DEEPEST + b"]", b'{"a":' + DEEPEST[1:-1] + b"}", b"[ ]", b"{ }"):
        assert fields(b'{"a":' + value + b"}", most_items=1).keys() == {"a"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[[' + DEEPEST + b"]]}",
        b'{"a":{"b":' + DEEPEST + b"}}",
        json.dumps({str(number): 1 for number in range(MAX_FIELDS + 1)}).encode(),
        b'{"a":[[' + b"{}," * MAX_PARTS[-1] + b"1]]}",
        b'{"a":[[[' + b'"",' * MAX_PARTS[0] + b"1]]]}",
        b"[]",
        b"",
        b"1",
        b'{"a":1',
        b'{"a"}',
        b"{'a':1}",
        b'{"a":[1,,2]}',
        b'{"\\ud800":1}',
    ],
)
def test_others_have_none(body: bytes) -> None:
    with pytest.raises(NoOutline):
        fields(body, most_items=10)


def test_counting_stops_at_the_limit() -> None:
    """What follows is not even looked at: it need not be JSON."""
    with pytest.raises(TooManyItems):
        fields(b'{"a":[' + b"{}," * 11 + b"!" * 100, most_items=10)
