"""The body of an export, streamed in pieces. An export that failed must never look complete to the client."""

from __future__ import annotations

import itertools
import threading
import zlib
from collections.abc import Iterator

import structlog
from django.conf import settings

from apps.reporting.errors import TooManyExports
from apps.reporting.export.formats import Format
from apps.reporting.export.messages import Selection, blocks, parts
from smsgateway.clickhouse import ClickHouse, ClickHouseError, ClickHouseUnavailable
from smsgateway.errors import StatisticsUnavailable
from smsgateway.metrics import EXPORT_BYTES, EXPORTS

log = structlog.get_logger(__name__)


class _Slots:
    """Limits how many exports this process writes at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def take(self) -> None:
        """Raises TooManyExports."""
        with self._lock:
            if self._taken >= settings.CONFIG.reporting.exports_at_once:
                raise TooManyExports("Try again when one has finished.")
            self._taken += 1

    def give_back(self) -> None:
        with self._lock:
            self._taken -= 1


_slots = _Slots()


class Export:
    """An iterator over the pieces of an export; the first pieces are read when it is created.

    It raises later errors while it is iterated. The server must then abort the response, so that the client does not
    take the file for complete. `close` may be called at any time.
    """

    def __init__(self, *, database: ClickHouse, selection: Selection, form: Format, gzip: bool) -> None:
        """Raises TooManyExports, QueryTooSlow or StatisticsUnavailable."""
        _slots.take()
        self._form = form
        self._ended = False
        try:
            within = parts(database=database, selection=selection)
            found = blocks(database=database, selection=selection, columns=form.columns, within=within)
            pieces = form.write(found)
            self._pieces = _gzipped(pieces) if gzip else pieces
            first = list(itertools.islice(self._pieces, 2))
        except BaseException as error:
            self._end("refused")
            if isinstance(error, ClickHouseUnavailable):
                raise StatisticsUnavailable("Try again shortly.") from error
            raise
        self._rest = itertools.chain(first, self._pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece = next(self._rest)
        except StopIteration:
            self._end("whole")
            raise
        except Exception as error:
            self._end("broken_off")
            reason = "export_broken_off" if isinstance(error, ClickHouseError) else "export_failed"
            log.error(reason, error=str(error))
            raise
        EXPORT_BYTES.inc(len(piece))
        return piece

    def close(self) -> None:
        """End the export: the client has left, or has everything."""
        self._end("left")

    def _end(self, how: str) -> None:
        if self._ended:
            return
        self._ended = True
        EXPORTS.labels(self._form.name, how).inc()
        try:
            if pieces := getattr(self, "_pieces", None):
                pieces.close()
        finally:
            _slots.give_back()


def _gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces compressed by gzip at its fastest level, which keeps up with the database."""
    compressor = zlib.compressobj(level=1, wbits=16 + zlib.MAX_WBITS)
    for piece in pieces:
        if compressed := compressor.compress(piece):
            yield compressed
    yield compressor.flush()
