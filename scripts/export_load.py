"""Measures how fast the reporting service writes exports, and its memory: `python -m scripts.export_load`.

Messages of one customer over a day, each accepted, submitted and ended, are generated in ClickHouse. The service runs
in gunicorn with one process; each format is streamed over HTTP. Prints one JSON line per format.
"""

from __future__ import annotations

import argparse
import datetime as dt
import http.client
import io
import json
import os
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import psutil
import pyarrow.parquet as pq

from apps.devservices import stack
from apps.devservices.demo.run import manage
from apps.devservices.gateway import REPORTING, Gateway
from apps.reporting.export.messages import COLUMNS
from smsgateway import config, ids
from smsgateway.clickhouse import ClickHouse

DIRECTORY: Final = Path(os.environ.get("DEVSERVICES_DIR") or ".devservices") / "export"
TODAY: Final = int(time.time()) // 86_400
DAY: Final = (TODAY - 1) * 86_400  # older events may be gone: CLICKHOUSE_RAW_KEPT_DAYS
CUSTOMER: Final = ids.from_text("01M85WFDKBHHEE00JSGK4272G4")
PIECE: Final = 1 << 20

# A ULID of that moment: 48 bits of time, 80 random bits.
_MESSAGES: Final = """
    SELECT
        toInt64({day}) * 1000 + intDiv(number * 86400000, {messages}) AS at,
        lower(concat(leftPad(hex(at), 12, '0'), substring(hex(sipHash128(number)), 1, 20))) AS text,
        toUUID(concat(substring(text, 1, 8), '-', substring(text, 9, 4), '-', substring(text, 13, 4), '-',
                      substring(text, 17, 4), '-', substring(text, 21, 12))) AS message_id,
        toDateTime(intDiv(at, 60000) * 60, 'UTC') AS minute,
        ['mci', 'irancell', 'rightel'][1 + number % 3] AS operator,
        number % 10 = 9 AS failed
    FROM numbers({messages})
"""
_INSERT: Final = """
    INSERT INTO sms_events (customer_id, minute, message_id, type, status, rank, at, operator, operator_message_id,
                            country, encoding, error, attempt, segments, cost, refunded, currency)
    SELECT toUUID('{customer}'), minute, message_id, {values} FROM ({messages}) {where}
"""
_AT: Final = "fromUnixTimestamp64Milli(at + {later}, 'UTC')"
_EVENTS: Final = (
    (f"'accepted', 'accepted', 0, {_AT.format(later=0)}, operator, '', 'IR', 'gsm7', '', 0, 1, 100, 0, 'IRR'", ""),
    (
        f"'status', 'submitted', 3, {_AT.format(later=1500)}, operator, hex(sipHash64(text)), '', '', '', 1, 1, 100,"
        " 0, ''",
        "",
    ),
    (
        f"'status', if(failed, 'failed', 'delivered'), if(failed, 8, 10), {_AT.format(later=5500)}, operator, '', '',"
        " '', if(failed, 'absent_subscriber', ''), 1, 1, 100, 0, ''",
        "",
    ),
    (f"'refund', '', 0, {_AT.format(later=5600)}, '', '', '', '', '', 0, 0, 0, 100, ''", "WHERE failed"),
)


class Memory:
    """The peak resident memory of a process and its children while the block runs, in MB."""

    def __init__(self, pid: int) -> None:
        self.most = 0.0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            parts = self._process.children() or [self._process]
            self.most = max(self.most, max(part.memory_info().rss for part in parts) / 2**20)


def rows_of_lines(read: Callable[[], bytes]) -> tuple[int, int]:
    """Lines and bytes."""
    lines = size = 0
    while piece := read():
        lines += piece.count(b"\n")
        size += len(piece)
    return lines, size


def rows_of_gzip(read: Callable[[], bytes]) -> tuple[int, int]:
    """Lines of the unpacked gzip, and bytes of the gzip."""
    lines = size = 0
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    while piece := read():
        lines += unpacking.decompress(piece).count(b"\n")
        size += len(piece)
    if not unpacking.eof:
        raise EOFError("the gzip lacks its end")
    return lines, size


def rows_of_parquet(read: Callable[[], bytes]) -> tuple[int, int]:
    """Rows according to the footer, and bytes."""
    pieces = []
    while piece := read():
        pieces.append(piece)
    body = b"".join(pieces)
    return pq.ParquetFile(io.BytesIO(body)).metadata.num_rows, len(body)


READERS: Final = {
    "csv": ({"format": "csv"}, rows_of_lines, 1),
    "csv, gzip": ({"format": "csv", "gzip": "1"}, rows_of_gzip, 1),
    "ndjson": ({"format": "ndjson"}, rows_of_lines, 0),
    "parquet": ({"format": "parquet"}, rows_of_parquet, 0),
}


def export(port: int, asked: dict[str, str]) -> http.client.HTTPResponse:
    """The answer to an export of the whole day."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    since, until = (dt.datetime.fromtimestamp(day, tz=dt.UTC).isoformat() for day in (DAY, DAY + 86_400))
    days = {"from": since, "to": until, "customer_id": ids.to_text(CUSTOMER)}
    connection.request("GET", "/v1/export?" + urlencode(days | asked))
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {answer.read()!r}")
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    messages = parser.parse_args().messages
    environ = {**os.environ, **stack.up(DIRECTORY, bound_to_pid=os.getpid())}
    wrong = 0
    try:
        loaded, _ = config.load(environ)
        database = ClickHouse(loaded.clickhouse)
        manage("migrate", environ=environ)
        manage("clickhouse_migrate", environ=environ)
        database.execute("TRUNCATE TABLE sms_events")
        made = _MESSAGES.format(day=DAY, messages=messages)
        for values, where in _EVENTS:
            database.execute(_INSERT.format(customer=CUSTOMER, values=values, messages=made, where=where))
        with Gateway(directory=DIRECTORY / "logs", environ=environ, workers=1) as gateway:
            gateway.start(REPORTING)
            gateway.wait_ready()
            for name, (asked, count, head) in READERS.items():
                began = time.monotonic()
                with Memory(gateway.pid(REPORTING)) as memory:
                    answer = export(gateway.ports.reporting, asked)
                    rows, size = count(lambda answer=answer: answer.read(PIECE))
                seconds = time.monotonic() - began
                wrong += rows - head != messages
                figures = {
                    "bench": "export",
                    "format": name,
                    "value": round(messages / seconds),
                    "unit": "messages/s",
                    "seconds": round(seconds, 2),
                    "rows": rows - head,
                    "columns": len(COLUMNS),
                    "megabytes": round(size / 2**20, 1),
                    "service_rss_mb": round(memory.most),
                    "cpus": os.cpu_count(),
                }
                sys.stdout.write(json.dumps(figures) + "\n")
        database.execute("TRUNCATE TABLE sms_events")
    finally:
        stack.down(DIRECTORY)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
