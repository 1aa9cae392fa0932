"""Values are found in operators' documents, and no document can do harm."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sms.operators import documents
from apps.sms.operators.base import InvalidReceipt, Receipt
from apps.sms.operators.generic_http.receipts import ReceiptReader
from smsgateway import config

_FOUND, _ = config.load(
    {
        "OPERATORS_HTTP": "rightel",
        "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "long-enough",
        "OPERATOR_RIGHTEL_RECEIPT_ID": "r.0.id",
        "OPERATOR_RIGHTEL_RECEIPT_STATUS": "r.0.status",
        "OPERATOR_RIGHTEL_RECEIPT_TIME": "r.0.at",
    }
)
READER = ReceiptReader(_FOUND.http_operators["rightel"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["r", "id", "status", "at"]), inner),
    max_leaves=20,
)


@given(st.binary(max_size=200), st.sampled_from(["", "utf-16", "windows-1256", "punycode", "zip", "no-such", "\0"]))
def test_any_octets_are_a_document_or_none(body: bytes, charset: str) -> None:
    documents.decode_text(body, charset)
    with contextlib.suppress(ValueError):
        documents.decode_document(body, charset)


@given(DOCUMENTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]))
def test_a_document_is_the_same_in_every_encoding(document: Any, encoding: str) -> None:
    text = json.dumps(document)
    assert documents.decode_document(text.encode(encoding)) == documents.decode_document(text.encode())


@given(DOCUMENTS)
def test_any_document_has_receipts_or_is_refused(document: Any) -> None:
    with contextlib.suppress(InvalidReceipt):
        for read in READER.read(documents.decode_document(json.dumps(document).encode())):
            assert read is None or isinstance(read, Receipt | InvalidReceipt)


@given(st.lists(st.lists(st.integers(min_value=0, max_value=10**9), max_size=5), max_size=5))
def test_no_element_of_a_list_is_lost(batches: list[list[int]]) -> None:
    document = {"r": [[{"id": number, "status": "DELIVRD", "at": 1} for number in batch] for batch in batches]}
    paths = ["r.id", "r.status"]
    found = [documents.find(document, "r.id", picks) for picks in documents.elements(document, paths)]
    assert found == [str(number) for batch in batches for number in batch]


@pytest.mark.parametrize("depth", [10, 900, 100_000])
def test_a_document_nested_without_end_is_refused(depth: int) -> None:
    try:
        document = documents.decode_document(b"[" * depth + b"1" + b"]" * depth)
    except ValueError:
        return
    read = READER.read(document)
    assert [type(one) for one in read] == [InvalidReceipt]
