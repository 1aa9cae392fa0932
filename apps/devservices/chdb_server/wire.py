"""Packets of ClickHouse's native protocol (revision 54429), read from and written to a socket.

Source: the protocol's description in ClickHouse's documentation ("Native protocol"), and clickhouse-driver.
"""

from __future__ import annotations

import dataclasses
import select
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from clickhouse_driver.bufferedreader import BufferedReader
from clickhouse_driver.varint import read_varint

# The newest revision whose settings are strings and whose blocks are the bytes of FORMAT Native.
REVISION: Final = 54429
BUFFER_BYTES: Final = 1 << 20
BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
"""Block info: 1 = not an overflow block, 2 = bucket -1, 0 = end."""


class ClientPacket:
    HELLO, QUERY, DATA, CANCEL, PING = range(5)


class ServerPacket:
    HELLO, DATA, EXCEPTION, PROGRESS, PONG, END_OF_STREAM = range(6)


class ProtocolError(Exception):
    """The client sent something that this server does not understand: the connection must end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Hello:
    database: str
    user: str
    password: str


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    text: str
    settings: dict[str, str]
    compressed: bool


class NativeReader(BufferedReader):  # type: ignore[misc]  # compiled without types
    """Reads the protocol's encodings from bytes in memory, through clickhouse-driver's buffer."""

    position: int
    current_buffer_size: int
    buffer: bytearray

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self.buffer = bytearray(data)
        self.current_buffer_size = len(data)

    def read_into_buffer(self) -> None:
        """Refill the buffer; called when it is used up. Raises EOFError at the end."""
        raise EOFError

    def skip(self, size: int) -> None:
        """Skip `size` bytes."""
        while size:
            if self.position == self.current_buffer_size:
                self.read_into_buffer()
                self.position = 0
            step = min(size, self.current_buffer_size - self.position)
            self.position += step
            size -= step

    def varint(self) -> int:
        return int(read_varint(self))

    def uint8(self) -> int:
        return int(self.read_one())

    def uint64(self) -> int:
        return int.from_bytes(self.read(8), "little")

    def text(self) -> str:
        return bytes(self.read(self.varint())).decode(errors="replace")


class PacketReader(NativeReader):
    """Reads the client's packets from a socket. It can copy the bytes to a sink."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(b"")
        self.buffer = bytearray(BUFFER_BYTES)
        self._connection = connection
        self._sink: Callable[[bytes], object] | None = None
        self._copied = 0

    def read_into_buffer(self) -> None:
        """Refill the buffer. Raises EOFError if the client has left."""
        self._copy(self.current_buffer_size)
        self._copied = 0
        self.current_buffer_size = self._connection.recv_into(self.buffer)
        if not self.current_buffer_size:
            raise EOFError

    def copy_to(self, sink: Callable[[bytes], object] | None) -> None:
        """Copy every byte read from here on to `sink`, in pieces of at most a buffer. None ends it."""
        self._copy(self.position)
        self._sink = sink
        self._copied = self.position

    def _copy(self, end: int) -> None:
        if self._sink and end > self._copied:
            with memoryview(self.buffer) as view:
                self._sink(bytes(view[self._copied : end]))

    def waiting(self) -> bool:
        """True if the client has sent something, or has closed the connection."""
        return self.position < self.current_buffer_size or bool(select.select([self._connection], [], [], 0)[0])

    def hello(self) -> Hello:
        """Read the Hello packet. Raises ProtocolError if the client does not speak the native protocol."""
        if self.varint() != ClientPacket.HELLO:
            raise ProtocolError("no native protocol client")
        self.text()  # the client's name
        for _ in ("major version", "minor version", "revision"):
            self.varint()
        return Hello(database=self.text(), user=self.text(), password=self.text())

    def query(self) -> Query:
        """Read the rest of a Query packet."""
        self.text()  # query id
        self._skip_client_info()
        settings = {}
        while name := self.text():
            self.uint8()  # flags
            settings[name] = self.text()
        self.varint()  # stage
        return Query(compressed=bool(self.varint()), text=self.text(), settings=settings)

    def _skip_client_info(self) -> None:
        if self.uint8() == 0:  # no kind of query: the client info is left out
            return
        for _ in ("initial user", "initial query id", "initial address"):
            self.text()
        self.uint8()  # interface: TCP
        for _ in ("system user", "host", "client name"):
            self.text()
        for _ in ("major version", "minor version", "revision"):
            self.varint()
        self.text()  # quota key
        self.varint()  # patch version

    def block_header(self) -> tuple[int, int]:
        """Columns and rows of the block of a Data packet; (0, 0) ends the data."""
        self.text()  # name of an external table
        while field := self.varint():
            self.skip(1 if field == 1 else 4)
        return self.varint(), self.varint()


def varint(value: int) -> bytes:
    """An integer in 7 bits per byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def text(value: str) -> bytes:
    data = value.encode()
    return varint(len(data)) + data


def hello_packet(*, version: Sequence[int], display_name: str) -> bytes:
    """`version`: major, minor, patch."""
    major, minor, patch = version
    return b"".join(
        [
            varint(ServerPacket.HELLO),
            text("ClickHouse"),
            *map(varint, (major, minor, REVISION)),
            text("UTC"),
            text(display_name),
            varint(patch),
        ]
    )


def data_prefix() -> bytes:
    """The bytes of a Data packet before a block of FORMAT Native."""
    return varint(ServerPacket.DATA) + text("") + BLOCK_INFO


def header_packet(columns: Sequence[tuple[str, str]]) -> bytes:
    """A Data packet without rows, with the names and types of the columns."""
    described = b"".join(text(name) + text(kind) for name, kind in columns)
    return data_prefix() + varint(len(columns)) + varint(0) + described


def exception_packet(code: int, message: str) -> bytes:
    no_nested_exception = b"\x00"
    return b"".join(
        [
            varint(ServerPacket.EXCEPTION),
            struct.pack("<i", code),
            *map(text, ("DB::Exception", message, "")),
            no_nested_exception,
        ]
    )
