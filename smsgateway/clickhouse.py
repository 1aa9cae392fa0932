"""A thin client for ClickHouse's native protocol. Its errors distinguish what is worth a retry."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes, NetworkError, ServerException, SocketTimeoutError
from clickhouse_driver.result import IterQueryResult
from clickhouse_driver.util.helpers import parse_url
from django.conf import settings

from smsgateway.config import settings as config_settings

CONNECT_TIMEOUT_SECONDS: Final = 5
# The server ends a long query itself and reports it; the socket waits a little longer for that report.
ANSWER_MARGIN_SECONDS: Final = 5

_TEMPORARY: Final = frozenset(
    {
        ErrorCodes.TIMEOUT_EXCEEDED,
        ErrorCodes.TOO_SLOW,
        ErrorCodes.TOO_MANY_SIMULTANEOUS_QUERIES,
        ErrorCodes.QUOTA_EXPIRED,
        ErrorCodes.SOCKET_TIMEOUT,
        ErrorCodes.NETWORK_ERROR,
        ErrorCodes.ABORTED,
        ErrorCodes.MEMORY_LIMIT_EXCEEDED,
        ErrorCodes.TABLE_IS_READ_ONLY,
        ErrorCodes.NOT_ENOUGH_SPACE,
        ErrorCodes.TOO_MANY_PARTS,
        ErrorCodes.ALL_CONNECTION_TRIES_FAILED,
        ErrorCodes.UNKNOWN_STATUS_OF_INSERT,
        ErrorCodes.QUERY_WAS_CANCELLED,
        ErrorCodes.TOO_LESS_LIVE_REPLICAS,
        ErrorCodes.UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE,
        ErrorCodes.NO_ZOOKEEPER,
        ErrorCodes.KEEPER_EXCEPTION,
    }
)

# An insert returns when its rows are on most replicas of their shard; every later SELECT reads them.
_IN_A_CLUSTER: Final = {
    "distributed_foreground_insert": 1,
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "select_sequential_consistency": 1,
}


class ClickHouseError(Exception):
    """ClickHouse refused a statement; the same statement will fail again"""


class ClickHouseUnavailable(ClickHouseError):
    """ClickHouse did not respond in time; the same statement may succeed later"""


class ClickHouseTooSlow(ClickHouseUnavailable):
    """ClickHouse stopped a statement that exceeded its time limit"""


_TOO_SLOW: Final = frozenset({ErrorCodes.TIMEOUT_EXCEEDED, ErrorCodes.TOO_SLOW})

Block = Sequence[Sequence[Any]]
"""Some rows of a result, column by column."""


class _Blocks(IterQueryResult):  # type: ignore[misc]  # the driver has no types
    """Yields each block as columns. Splitting blocks into rows takes most of the driver's time."""

    def __next__(self) -> list[Block]:
        block = getattr(next(self.packet_generator), "block", None)
        return [block.get_columns()] if block is not None and block.num_rows else []


class ClickHouse:
    """A client that threads may share: a connection serves one statement at a time and is kept for the next."""

    def __init__(self, config: config_settings.ClickHouse) -> None:
        """`config.timeout` bounds each statement. Options in the query part of the URL go to clickhouse-driver."""
        self.config = config
        self._host, options = parse_url(config.url)
        self._options = {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "send_receive_timeout": config.timeout + ANSWER_MARGIN_SECONDS,
        } | options
        self._settings: dict[str, Any] = {"max_execution_time": config.timeout}
        # The server must not answer before the rows are in the table, whatever its own default is.
        self._writing = self._settings | {"async_insert": 0} | (_IN_A_CLUSTER if config.cluster else {})
        self._idle: deque[Client] = deque()

    def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, seconds: int | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of a SELECT; `%(name)s` in `sql` stands for a parameter.

        `seconds`: its time limit, if it differs from that of other statements. Raises ClickHouseTooSlow if the limit
        is exceeded, ClickHouseUnavailable or ClickHouseError.
        """
        with self._client() as client:
            rows: list[tuple[Any, ...]] = client.execute(sql, parameters, settings=self._limited(seconds))
        return rows

    def stream(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        seconds: int | None = None,
    ) -> Iterator[Block]:
        """Yield the blocks of a SELECT as they arrive, with texts as bytes. Only one block is in memory at a time.

        Closing the iterator ends the query. Raises like `query`, at any block.
        """
        query_settings = {**self._limited(seconds), "strings_as_bytes": True, **(settings or {})}
        with self._client() as client:
            is_complete = False
            try:
                yield from client.execute_iter(sql, parameters, settings=query_settings)
                is_complete = True
            finally:
                if not is_complete:  # the connection still receives the rest of the result
                    client.disconnect()

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns no rows. Raises ClickHouseUnavailable or ClickHouseError."""
        with self._client() as client:
            client.execute(sql, parameters, settings=self._settings)

    def insert_select(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run an INSERT INTO … SELECT. It reads everything that any process inserted before.

        Raises like `insert`; the caller must be able to run it again.
        """
        with self._client() as client:
            client.execute(sql, parameters, settings=self._writing)

    def insert(self, sql: str, columns: Sequence[Sequence[Any]]) -> None:
        """Insert one native block; `sql` ends in VALUES, `columns` has the values column by column.

        When it returns, the rows are in the server's table. Raises ClickHouseUnavailable or ClickHouseError; some rows
        may have been written by then, so the caller must be able to insert all of them again.
        """
        with self._client() as client:
            client.execute(sql, columns, columnar=True, settings=self._writing)

    def _limited(self, seconds: int | None) -> dict[str, Any]:
        return self._settings if seconds is None else self._settings | {"max_execution_time": seconds}

    def close(self) -> None:
        """Close the idle connections; a later statement opens a new one."""
        while self._idle:
            self._idle.pop().disconnect()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        try:
            client = self._idle.pop()
        except IndexError:
            client = Client(self._host, **self._options)
            client.iter_query_result_cls = _Blocks
        try:
            yield client
        except ServerException as error:
            kind = ClickHouseUnavailable if error.code in _TEMPORARY else ClickHouseError
            kind = ClickHouseTooSlow if error.code in _TOO_SLOW else kind
            raise kind(f"code {error.code}: {error.message.partition(' Stack trace:')[0].strip()}") from error
        except (NetworkError, SocketTimeoutError, OSError, EOFError) as error:
            raise ClickHouseUnavailable(str(error)) from error
        except Error as error:
            raise ClickHouseError(str(error)) from error
        finally:
            # After an error the driver has closed the connection; the client opens a new one for its next statement.
            self._idle.append(client)


@functools.cache
def default() -> ClickHouse:
    """The process's client for the server at CLICKHOUSE_URL."""
    return ClickHouse(settings.CONFIG.clickhouse)
