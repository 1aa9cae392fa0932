"""The formats of an export. ClickHouse itself writes rows of CSV and NDJSON; Arrow makes Parquet of its columns."""

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
# Whose words are not ours alone: a CSV cell must not begin a formula.
_FOREIGN: Final = ("operator", "operator_message_id", "country", "encoding", "currency", "error")
_REPEATING: Final = ("customer_id", "status", "operator", "country", "encoding", "currency", "error")
# Rows of one row group, the unit that a reader takes in at once.
_GROUP: Final = 65_536


@dataclasses.dataclass(frozen=True, slots=True)
class Format:
    """How messages are written. `columns`: what ClickHouse is asked for; `write`: its blocks to pieces of the file."""

    name: str
    media_type: str
    columns: str
    write: Callable[[Iterator[Block]], Iterator[bytes]]
    packed: bool = False


_LISTED: Final = ", ".join(f"{source} AS {name}" for name, source in COLUMNS.items())
_CELLS: Final = ", ".join(
    f"{spreadsheets.cell_sql(source) if name in _FOREIGN else source} AS {name}" for name, source in COLUMNS.items()
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
    """A file that keeps what is written until it is taken."""

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
    # Only a file that was written to its end has the footer without which nobody can read it.
    writer.close()
    yield file.take()


FORMATS: Final = {
    found.name: found
    for found in (
        Format("csv", "text/csv; charset=utf-8", f"formatRow('CSV', {_CELLS})", _csv),
        Format("ndjson", "application/x-ndjson", f"formatRow('JSONEachRow', {_LISTED})", _lines),
        Format("parquet", "application/vnd.apache.parquet", _NUMBERS, _parquet, packed=True),
    )
}

GZIP: Final = "application/gzip"
"""The media type of a format that is packed as a whole."""
