"""Messages as files, over HTTP."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import gzip
import http.client
import io
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, override_settings

from apps.reporting.export import messages, streaming
from smsgateway import clickhouse, ids
from smsgateway.clickhouse import Block, ClickHouse, ClickHouseError
from tests.support.events import accepted, message_id, refund, status, write

START = dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC)


@pytest.fixture
def client(database: ClickHouse) -> Iterator[Client]:
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


@pytest.fixture
def asked(customer: UUID) -> dict[str, str]:
    return {"customer_id": ids.to_text(customer), "from": "2026-03-05", "to": "2026-03-06"}


@pytest.fixture
def three(database: ClickHouse, customer: UUID) -> list[UUID]:
    """A delivered message, a failed one of ten minutes later, and one without an end of the next hour."""
    made = [message_id(START), message_id(START + dt.timedelta(minutes=10)), message_id(START + dt.timedelta(hours=1))]
    write(
        database,
        *(accepted(customer, message) for message in made),
        status(customer, made[0], "submitted", after=500),
        status(customer, made[0], "delivered", after=2500),
        status(customer, made[1], "failed"),
        refund(customer, made[1]),
    )
    return made


def body(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def test_csv_has_a_row_for_each_message_in_the_order_of_their_acceptance(
    client: Client, asked: dict[str, str], three: list[UUID], customer: UUID
) -> None:
    response = client.get("/v1/export", asked)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == ('attachment; filename="messages-20260305T000000Z-20260306T000000Z.csv"')
    rows = list(csv.DictReader(io.StringIO(body(response).decode())))
    assert [row["id"] for row in rows] == [ids.to_text(message) for message in three]
    assert [row["status"] for row in rows] == ["delivered", "failed", "accepted"]
    assert rows[0] == {
        "id": ids.to_text(three[0]),
        "customer_id": ids.to_text(customer),
        "accepted_at": "2026-03-05T08:30:00.000Z",
        "status": "delivered",
        "status_at": "2026-03-05T08:30:02.500Z",
        "operator": "irancell",
        "operator_message_id": "",
        "country": "IR",
        "encoding": "ucs2",
        "segments": "2",
        "cost": "200",
        "currency": "IRR",
        "refunded": "0",
        "error": "",
        "attempts": "1",
        "submitted_at": "2026-03-05T08:30:00.500Z",
        "delivered_at": "2026-03-05T08:30:02.500Z",
    }
    assert (rows[1]["refunded"], rows[1]["submitted_at"]) == ("200", "")


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_a_delivery_is_never_before_its_submit(
    database: ClickHouse, client: Client, asked: dict[str, str], customer: UUID, form: str
) -> None:
    """Earlier versions kept the operator's whole minutes; a message without a delivery still has no such time."""
    made = [message_id(START), message_id(START + dt.timedelta(minutes=10))]
    write(
        database,
        *(accepted(customer, message) for message in made),
        status(customer, made[0], "submitted", after=5500),
        status(customer, made[0], "delivered", after=100),
        status(customer, made[1], "submitted", after=500),
    )
    raw = body(client.get("/v1/export", asked | {"format": form}))
    rows: list[dict[str, Any]]
    if form == "parquet":
        rows = pq.read_table(io.BytesIO(raw)).to_pylist()
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(raw.decode())))
    else:
        rows = [json.loads(line) for line in raw.splitlines()]
    assert rows[0]["submitted_at"] == rows[0]["delivered_at"] == rows[0]["status_at"]
    assert rows[1]["submitted_at"]
    assert not rows[1]["delivered_at"]


def test_every_format_has_the_same_values(client: Client, asked: dict[str, str], three: list[UUID]) -> None:
    lines = [json.loads(line) for line in body(client.get("/v1/export", asked | {"format": "ndjson"})).splitlines()]
    table = pq.read_table(io.BytesIO(body(client.get("/v1/export", asked | {"format": "parquet"}))))
    rows = list(csv.DictReader(io.StringIO(body(client.get("/v1/export", asked)).decode())))

    def text(value: object) -> str:
        if isinstance(value, dt.datetime):
            return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
        return "" if value is None else str(value)

    assert [{name: text(value) for name, value in line.items()} for line in lines] == rows
    assert [{name: text(value) for name, value in row.items()} for row in table.to_pylist()] == rows
    assert lines[0]["cost"] == 200


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"status": "failed"}, [1]),
        ({"status": "queued"}, []),
        ({"operator": "irancell"}, [0, 1]),
        ({"operator": "mci"}, [2]),
        ({"from": "2026-03-05T08:40:00Z"}, [1, 2]),
        ({"to": "2026-03-05T08:30:00.001Z"}, [0]),
        ({"to": "2026-03-05T08:30:00Z"}, []),
    ],
)
@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_filters(
    client: Client, asked: dict[str, str], three: list[UUID], more: dict[str, str], expected: list[int], form: str
) -> None:
    found = body(client.get("/v1/export", asked | more | {"format": form}))
    if form == "parquet":
        found_ids = pq.read_table(io.BytesIO(found)).column("id").to_pylist()
    elif form == "csv":
        found_ids = [row["id"] for row in csv.DictReader(io.StringIO(found.decode()))]
    else:
        found_ids = [json.loads(line)["id"] for line in found.splitlines()]
    assert found_ids == [ids.to_text(three[position]) for position in expected]


def test_a_range_is_read_in_parts_without_a_gap(
    client: Client, asked: dict[str, str], three: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "PART", 1)
    rows = list(csv.DictReader(io.StringIO(body(client.get("/v1/export", asked)).decode())))
    assert [row["id"] for row in rows] == [ids.to_text(message) for message in three]


def test_gzip_as_a_file_and_as_an_encoding(client: Client, asked: dict[str, str], three: list[UUID]) -> None:
    plain = body(client.get("/v1/export", asked))
    file = client.get("/v1/export", asked | {"gzip": "1"})
    assert (file["Content-Type"], file.has_header("Content-Encoding")) == ("application/gzip", False)
    assert file["Content-Disposition"].endswith('.csv.gz"')
    assert gzip.decompress(body(file)) == plain
    encoded = client.get("/v1/export", asked, headers={"Accept-Encoding": "br, gzip"})
    assert (encoded["Content-Type"], encoded["Content-Encoding"]) == ("text/csv; charset=utf-8", "gzip")
    assert gzip.decompress(body(encoded)) == plain
    refused = client.get("/v1/export", asked, headers={"Accept-Encoding": "gzip;q=0, br"})
    assert not refused.has_header("Content-Encoding")
    assert body(refused) == plain
    assert client.get("/v1/export", asked | {"gzip": "1", "format": "parquet"}).status_code == 400


def test_limits_are_refused_with_the_reason(client: Client, asked: dict[str, str]) -> None:
    wrong = client.get("/v1/export", asked | {"to": "2026-12-01", "format": "xml", "recipient": "x"}).json()
    assert {error["field"] for error in wrong["errors"]} == {"to", "format", "recipient"}
    assert "92 days" in str(wrong)


def broken(blocks: Callable[..., Iterator[Block]]) -> Callable[..., Iterator[Block]]:
    """ClickHouse fails after the first block."""

    def found(**asked: Any) -> Iterator[Block]:
        for block in blocks(**asked):
            yield block
            yield block
            raise ClickHouseError("code 241: memory limit")

    return found


@pytest.fixture
def server(client: Client) -> Iterator[int]:
    """The service behind gunicorn's own thread worker, which breaks off an answer whose body fails; its port."""
    from tests.support.gunicorn import serving

    with serving(WSGIHandler()) as port:
        yield port


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_error_in_the_middle_breaks_the_answer_off(
    server: int, asked: dict[str, str], three: list[UUID], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(streaming, "blocks", broken(messages.blocks))
    query = "&".join(f"{name}={value}" for name, value in (asked | {"format": form}).items())
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server)) as connection:
        connection.request("GET", f"/v1/export?{query}")
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_http_1_0_needs_compression_so_that_a_broken_file_is_noticed(
    client: Client, asked: dict[str, str], three: list[UUID]
) -> None:
    old = {"SERVER_PROTOCOL": "HTTP/1.0"}
    refused = client.get("/v1/export", asked, **old)
    assert (refused.status_code, refused.json()["code"]) == (505, "http_version_too_old")
    assert body(client.get("/v1/export", asked | {"format": "parquet"}, **old))
    assert body(client.get("/v1/export", asked | {"gzip": "1"}, **old))


def test_clickhouse_down_is_an_error_before_anything_is_sent(
    client: Client, away: ClickHouse, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse, "default", lambda: away)
    response = client.get("/v1/export", asked)
    assert (response.status_code, response.json()["code"]) == (503, "statistics_unavailable")


def test_only_so_many_run_at_once_and_their_slots_are_released(
    client: Client, asked: dict[str, str], three: list[UUID]
) -> None:
    first = client.get("/v1/export", asked)
    second = client.get("/v1/export", asked)
    assert (second.status_code, second.json()["code"], second["Retry-After"]) == (503, "too_many_exports", "1")
    for close in first._resource_closers:  # what the server does when the client has gone
        close()
    third = client.get("/v1/export", asked)
    assert body(third).count(b"\n") == 4
    fourth = client.get("/v1/export", asked)
    assert body(fourth).count(b"\n") == 4


def test_a_connection_left_in_the_middle_serves_the_next_query(database: ClickHouse) -> None:
    blocks = database.stream("SELECT number FROM numbers(10000000)", settings={"max_block_size": 1000})
    next(blocks)
    blocks.close()
    assert database.query("SELECT 1") == [(1,)]


def test_threads_share_the_slots() -> None:
    """None of two that come at once is let in beyond the limit."""
    results: list[bool] = []
    barrier = threading.Barrier(8)

    def take() -> None:
        barrier.wait()
        try:
            streaming._slots.take()
        except streaming.TooManyExports:
            results.append(False)
        else:
            results.append(True)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    streaming._slots.give_back()
    assert results.count(True) == 1
