"""One client's connection: its queries, run by a chDB connection of its own (database and settings are per client)."""

from __future__ import annotations

import json
import re
import socket
import tempfile
from typing import IO, Any, Final

import chdb

from apps.devservices.chdb_server.blocks import UnknownTypeError, columns_of, skip_block
from apps.devservices.chdb_server.wire import (
    ClientPacket,
    PacketReader,
    ProtocolError,
    Query,
    ServerPacket,
    data_prefix,
    exception_packet,
    header_packet,
    hello_packet,
    varint,
)

USER: Final = "default"

# ClickHouse's error codes, https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
NOT_IMPLEMENTED: Final = 48
UNKNOWN_TYPE: Final = 50
UNKNOWN_EXCEPTION: Final = 1002
AUTHENTICATION_FAILED: Final = 516

_NAME = r"(?:\w+|`[^`]+`|\"[^\"]+\")"
_INSERT_OF_CLIENT_DATA: Final = re.compile(
    rf"""\s*(?P<target>INSERT\s+INTO\s+(?:TABLE\s+)?(?P<table>{_NAME}(?:\.{_NAME})?)
    \s*(?:\((?P<columns>[^()]+(?:\([^()]*\)[^()]*)*)\))?)
    \s*(?P<settings>SETTINGS\s+.+?)?
    \s*(?:VALUES|FORMAT\s+\w+)\s*;?\s*""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_FORMAT_CLAUSE: Final = re.compile(r"\s+FORMAT\s+\w+\s*;?\s*\Z", re.IGNORECASE)
_ENGINE_ERROR: Final = re.compile(r"Code: (\d+)\. (DB::Exception: .*)", re.DOTALL)


class QueryError(Exception):
    """A query failed, with ClickHouse's error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @classmethod
    def from_engine(cls, error: RuntimeError) -> QueryError:
        found = _ENGINE_ERROR.search(str(error))
        return cls(int(found[1]), found[2]) if found else cls(UNKNOWN_EXCEPTION, str(error))


class ClientSession:
    """Answers one client until it leaves."""

    def __init__(self, connection: socket.socket, *, path: str) -> None:
        self._connection = connection
        self._path = path
        self._reader = PacketReader(connection)
        # chDB starts with the settings of clickhouse-local; these are the server's.
        self._engine = chdb.connect(f"{path}?implicit_select=0")
        self._settings: dict[str, str] = {}

    def close(self) -> None:
        self._engine.close()

    def serve(self) -> None:
        """Serve until the client leaves. Raises ProtocolError if it sends something unknown."""
        try:
            self._greet()
            while True:
                packet = self._reader.varint()
                if packet == ClientPacket.QUERY:
                    self._answer(self._reader.query())
                elif packet == ClientPacket.PING:
                    self._send(varint(ServerPacket.PONG))
                elif packet != ClientPacket.CANCEL:  # a cancel may arrive just after the answer's end
                    raise ProtocolError(f"unexpected packet {packet}")
        except (EOFError, ConnectionError):
            return
        except QueryError as error:
            # The start of the next packet is unknown, or access is denied: send the error, and close.
            self._send(exception_packet(error.code, str(error)))

    def _greet(self) -> None:
        hello = self._reader.hello()
        if (hello.user, hello.password) != (USER, ""):
            raise QueryError(AUTHENTICATION_FAILED, "DB::Exception: the user is default, without a password")
        if hello.database:
            escaped = hello.database.replace("\\", "\\\\").replace("`", "\\`")
            self._run(f"USE `{escaped}`")
        version = [int(part) for part in chdb.engine_version.split(".")[:3]]
        self._send(hello_packet(version=version, display_name="chDB"))

    def _answer(self, query: Query) -> None:
        """Run one query. Sends a QueryError that leaves the connection usable; raises any other."""
        if query.compressed:
            raise QueryError(NOT_IMPLEMENTED, "DB::Exception: compression is not supported by the development server")
        self._refuse_external_tables()
        try:
            self._apply(query.settings)
            if insert := _INSERT_OF_CLIENT_DATA.fullmatch(query.text):
                self._insert(insert)
            else:
                self._select(_FORMAT_CLAUSE.sub("", query.text))
        except QueryError as error:
            if error.code == UNKNOWN_TYPE and isinstance(error.__cause__, UnknownTypeError):
                raise
            self._send(exception_packet(error.code, str(error)))
        else:
            self._send(varint(ServerPacket.END_OF_STREAM))

    def _refuse_external_tables(self) -> None:
        if self._reader.varint() != ClientPacket.DATA:
            raise ProtocolError("a query without the end of its external tables")
        if self._reader.block_header() != (0, 0):
            raise QueryError(
                NOT_IMPLEMENTED, "DB::Exception: external tables are not supported by the development server"
            )

    def _apply(self, settings: dict[str, str]) -> None:
        """Apply this query's settings, and undo those of the query before."""
        for name in self._settings.keys() - settings.keys():
            self._run(f"SET {name} = DEFAULT")
            del self._settings[name]
        for name, value in settings.items():
            if self._settings.get(name) != value:
                if not name.isidentifier():
                    raise QueryError(UNKNOWN_EXCEPTION, f"DB::Exception: {name!r} is no name of a setting")
                escaped = value.replace("\\", "\\\\").replace("'", "\\'")
                self._run(f"SET {name} = '{escaped}'")
                self._settings[name] = value

    def _run(self, text: str, output: str = "Native") -> bytes:
        try:
            return bytes(self._engine.query(text, output).bytes())
        except RuntimeError as error:
            raise QueryError.from_engine(error) from error

    def _select(self, text: str) -> None:
        """Send each block as soon as the engine has it. Results that cannot be streamed (DDL, SHOW) are one block."""
        try:
            blocks = self._engine.send_query(text, "Native")
        except RuntimeError as error:
            if "Streaming query is not supported" not in str(error):
                raise QueryError.from_engine(error) from error
            if answer := self._run(text):
                self._send_header(answer, text)
                self._send(data_prefix() + answer)
            return
        with blocks:
            block = _fetch(blocks)
            self._send_header(block, text)
            while block and not self._canceled():
                self._send(data_prefix() + block)
                block = _fetch(blocks)

    def _send_header(self, first_block: bytes | None, text: str) -> None:
        """Send the columns before the data, as ClickHouse does: the driver takes their names from there."""
        try:
            columns = columns_of(first_block) if first_block else self._describe(text)
        except UnknownTypeError:
            columns = self._describe(text)
        self._send(header_packet(columns))

    def _canceled(self) -> bool:
        if not self._reader.waiting():
            return False
        if self._reader.varint() != ClientPacket.CANCEL:
            raise ProtocolError("a packet within the answer to a query")
        return True

    def _insert(self, insert: re.Match[str]) -> None:
        """Send the columns to the client, write its blocks to an unnamed file, and let the engine read that.

        chDB's own streaming insert is no choice: it reports success when a constraint, a full disk or a view refuses
        the rows.
        """
        columns = self._describe(f"SELECT {insert['columns'] or '*'} FROM {insert['table']}")
        self._send(header_packet(columns))
        with tempfile.TemporaryFile(dir=self._path) as spool:
            while size := self._next_block_size():
                self._copy_block(spool, columns=size[0], rows=size[1])
            if not spool.tell():
                return
            spool.flush()
            source = f"FROM INFILE '/proc/self/fd/{spool.fileno()}' {insert['settings'] or ''} FORMAT Native"
            self._run(f"{insert['target']} {source}")

    def _copy_block(self, spool: IO[bytes], *, columns: int, rows: int) -> None:
        spool.write(varint(columns) + varint(rows))
        self._reader.copy_to(spool.write)
        try:
            skip_block(self._reader, columns=columns, rows=rows)
        except UnknownTypeError as error:
            raise QueryError(UNKNOWN_TYPE, f"DB::Exception: {error}") from error
        finally:
            self._reader.copy_to(None)

    def _next_block_size(self) -> tuple[int, int] | None:
        """Columns and rows of the client's next block, None at the end of its data."""
        packet = self._reader.varint()
        if packet != ClientPacket.DATA:
            raise ProtocolError(f"packet {packet} within the data of an INSERT")
        size = self._reader.block_header()
        return size if size != (0, 0) else None

    def _describe(self, select: str) -> list[tuple[str, str]]:
        """Names and types of the columns of a query."""
        described = json.loads(self._run(f"DESCRIBE TABLE (\n{select.strip().rstrip(';')}\n)", "JSONCompact"))
        return [(row[0], row[1]) for row in described["data"]]

    def _send(self, data: bytes) -> None:
        self._connection.sendall(data)


def _fetch(blocks: Any) -> bytes | None:
    try:
        chunk = blocks.fetch()
    except RuntimeError as error:
        raise QueryError.from_engine(error) from error
    return bytes(chunk.bytes()) if chunk is not None else None
