"""The body of an export: pieces as they come, packed if asked for, and never whole-looking when they are not."""

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


class _Places:
    """How many exports this process writes at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def take(self) -> None:
        """Raises TooManyExports."""
        with self._lock:
            if self._taken >= settings.CONFIG.reporting.exports_at_once:
                raise TooManyExports("Try again when one has ended.")
            self._taken += 1

    def give_back(self) -> None:
        with self._lock:
            self._taken -= 1


_places = _Places()


class Export:
    """An iterator over the pieces of an export, whose first one is there already.

    An error after that is raised from it: whoever sends the pieces must then break the answer off, for the client must
    not take what it has for the whole. `close` may be called at any time.
    """

    def __init__(self, *, database: ClickHouse, selection: Selection, form: Format, gzip: bool) -> None:
        """Raises TooManyExports, QueryTooSlow or StatisticsUnavailable."""
        _places.take()
        self._form = form
        self._ended = False
        try:
            within = parts(database=database, selection=selection)
            found = blocks(database=database, selection=selection, columns=form.columns, within=within)
            pieces = form.write(found)
            self._pieces = _packed(pieces) if gzip else pieces
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
        """End it: the client has gone, or has all."""
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
            _places.give_back()


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces as gzip, at its fastest: what costs time is the database."""
    packing = zlib.compressobj(level=1, wbits=16 + zlib.MAX_WBITS)
    for piece in pieces:
        if packed := packing.compress(piece):
            yield packed
    yield packing.flush()
