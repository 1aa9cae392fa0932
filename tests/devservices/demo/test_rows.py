"""The file of the demo and how it is split into requests."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from apps.devservices.demo import rows
from apps.sms import encoding, numbers
from scripts import make_demo_messages

FILE = Path(__file__).parents[3] / "scripts" / "demo_messages.csv"


@pytest.fixture(scope="module")
def messages() -> list[rows.Row]:
    return rows.read(FILE)


def test_the_file_is_what_its_generator_makes(messages: list[rows.Row]) -> None:
    made = make_demo_messages.rows(random.Random(make_demo_messages.SEED))
    assert [list(row) for row in messages] == made


def test_the_file_has_every_kind_of_message(messages: list[rows.Row]) -> None:
    encoded = Counter(encoding.encode(row.text) for row in messages if row.text)
    for kind in (encoding.GSM7, encoding.UCS2):
        assert encoded[encoding.Encoded(kind, 1)]
        assert sum(count for found, count in encoded.items() if found.encoding == kind and found.segments > 1)
    assert any(encoding.EXTENSION & set(row.text) for row in messages)
    prefixes = Counter(number[3:6] for row in messages if (number := _valid(row.to)))
    for operator in (make_demo_messages.MCI, make_demo_messages.IRANCELL, make_demo_messages.RIGHTEL):
        assert sum(prefixes[prefix] for prefix in operator)
    assert any(_valid(row.to) is None for row in messages)
    assert len({row.reference for row in messages}) == len(messages) >= 2000


def test_no_message_goes_to_the_number_that_never_gets_a_receipt(messages: list[rows.Row]) -> None:
    assert not [row for row in messages if (_valid(row.to) or "").endswith("0007")]


def test_half_of_the_rows_are_sent_singly_and_every_row_once(messages: list[rows.Row]) -> None:
    requests = rows.requests(messages)
    assert sorted(row for request in requests for row in request.rows) == sorted(messages)
    assert sum(len(request.rows) for request in requests if not request.is_batch) == len(messages) / 2
    assert all(row.customer == request.customer for request in requests for row in request.rows)
    assert max(len(request.rows) for request in requests) == rows.BATCH


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("to,text\n", "columns"),
        ("customer,to,text,from,reference\n", "no messages"),
        ("customer,to,text,from,reference\nstranger,1,a,,\n", "stranger"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "messages.csv"
    path.write_text(text)
    with pytest.raises(rows.UnusableFile, match=complaint):
        rows.read(path)


def _valid(number: str) -> str | None:
    try:
        return numbers.to_e164(number, region="IR")
    except numbers.NotMobile:
        return None
