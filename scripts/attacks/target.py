"""What is attacked, the requests that are sent to it, and connections to it."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple
from urllib.parse import urlsplit

# Attackers come from another address than the customer beside them: a server may bound the connections of one address.
_ATTACKERS_ADDRESS = "127.0.0.2"
_LOOPBACK = ("127.0.0.1", "localhost")


class Target(NamedTuple):
    """A gateway's host and port, and who is there: a customer's id, and its API key if keys are required."""

    host: str
    port: int
    customer: str
    key: str = ""

    def send(self, text: str = "hi", to: str = "09121234567", **more: str) -> bytes:
        """A request for one message."""
        return self.post("/v1/sms/send", json.dumps({"customer_id": self.customer, "to": to, "text": text}), **more)

    def post(self, path: str, body: str | bytes, **headers: str) -> bytes:
        """A POST request with a JSON body."""
        content = body.encode() if isinstance(body, str) else body
        return self.head("POST", path, Content_Length=str(len(content)), **headers) + content

    def get(self, path: str, **headers: str) -> bytes:
        """A GET request."""
        return self.head("GET", path, **headers)

    def head(self, method: str, path: str, **headers: str) -> bytes:
        """The head of a request, with the empty line."""
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        host = f"Host: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
        return f"{method} {path} HTTP/1.1\r\n{host}{''.join(lines)}\r\n".encode()


class Connection:
    """One connection of an HTTP client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, request: bytes) -> None:
        """Send these bytes. Raises OSError."""
        self.writer.write(request)
        await self.writer.drain()

    async def status(self) -> int:
        """Read one answer whole, and return its status. Raises OSError or EOFError if the connection ends."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        await self._reader.readexactly(int(fields.get(b"content-length", b"0")))
        return int(head.split(b" ", 2)[1])

    async def ended(self) -> None:
        """Read to the end of the connection."""
        while await self._reader.read(65_536):
            pass

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """End the connection at once, without the usual goodbye."""
        self.writer.transport.abort()


def parse(url: str, *, customer: str, key: str = "") -> Target:
    """The target at this URL."""
    parts = urlsplit(url)
    return Target(parts.hostname or "127.0.0.1", parts.port or 80, customer, key)


async def connect(target: Target, *, as_attacker: bool = True, limit: int = 65_536) -> Connection:
    """A connection to the target. `limit`: so many bytes of answers are read ahead. Raises OSError."""
    here = (_ATTACKERS_ADDRESS, 0) if as_attacker and target.host in _LOOPBACK else None
    return Connection(*await asyncio.open_connection(target.host, target.port, local_addr=here, limit=limit))
