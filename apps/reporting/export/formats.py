"""The formats of an export. ClickHouse itself writes the rows of CSV and NDJSON; Arrow writes Parquet from columns."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from apps.reporting.export.messages import COLUMNS
from smsgateway import spreadsheets
from smsgateway.clickhouse import Block

_TIMES: Final = ("accepted_at", "status_at", "submitted_at", "delivered_at")
_WHOLE: Final = ("segments", "cost", "refunded", "attempts")
# Texts from outside: in CSV their cells must not begin with a formula.
_UNTRUSTED: Final = ("operator", "operator_message_id", "country", "encoding", "currency", "error")
_REPEATING: Final = ("customer_id", "status", "operator", "country", "encoding", "currency", "error")
# Rows per row group, the unit that a reader loads at once.
_GROUP: Final = 65_536


@dataclasses.dataclass(frozen=True, slots=True)
class Format:
    """How messages are written. `columns`: the SQL to select; `write`: turns its blocks into pieces of the file."""

    name: str
    media_type: str
    columns: str
    write: Callable[[Iterator[Block]], Iterator[bytes]]
    is_compressed: bool = False


_LISTED: Final = ", ".join(f"{source} AS {name}" for name, source in COLUMNS.items())
_CELLS: Final = ", ".join(
    f"{spreadsheets.cell_sql(source) if name in _UNTRUSTED else source} AS {name}" for name, source in COLUMNS.items()
)


def _csv(blocks: Iterator[Block]) -> Iterator[bytes]:
    yield ",".join(COLUMNS).encode() + b"\n"
    yield from _lines(blocks)


def _lines(blocks: Iterator[Block]) -> Iterator[bytes]:
    for (rows,) in blocks:
        yield b"".join(rows)


_SCHEMA: Final = pa.schema(
    [
        (name, pa.timestamp("ms", tz="UTC") if name in _TIMES else pa.int64() if name in _WHOLE else pa.string())
        for name in COLUMNS
    ]
)
_NUMBERS: Final = ", ".join(
    f"toUnixTimestamp64Milli({source}) AS {name}" if name in _TIMES else f"{source} AS {name}"
    for name, source in COLUMNS.items()
)


class _Pieces(io.RawIOBase):
    """A file in memory that keeps what is written until `take`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # a buffer of Arrow's
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def _parquet(blocks: Iterator[Block]) -> Iterator[bytes]:
    file = _Pieces()
    writer = pq.ParquetWriter(
        pa.PythonFile(file, mode="w"), _SCHEMA, compression="zstd", use_dictionary=list(_REPEATING)
    )
    held: list[pa.RecordBatch] = []
    for block in blocks:
        held.append(pa.record_batch([pa.array(*column) for column in zip(block, _SCHEMA.types, strict=True)], _SCHEMA))
        if sum(batch.num_rows for batch in held) >= _GROUP:
            writer.write_table(pa.Table.from_batches(held, _SCHEMA))
            held.clear()
            yield file.take()
    if held:
        writer.write_table(pa.Table.from_batches(held, _SCHEMA))
    # The footer, without which nobody can read the file, is written only here: a broken file cannot look complete.
    writer.close()
    yield file.take()


FORMATS: Final = {
    found.name: found
    for found in (
        Format("csv", "text/csv; charset=utf-8", f"formatRow('CSV', {_CELLS})", _csv),
        Format("ndjson", "application/x-ndjson", f"formatRow('JSONEachRow', {_LISTED})", _lines),
        Format("parquet", "application/vnd.apache.parquet", _NUMBERS, _parquet, is_compressed=True),
    )
}

GZIP: Final = "application/gzip"
"""The media type of a file that is compressed as a whole."""
