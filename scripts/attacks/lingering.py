"""500 connections that ask for a close after the answer, and stay open."""

from __future__ import annotations

import asyncio
from contextlib import closing

from scripts.attacks.crew import Crew
from scripts.attacks.target import Target, connect

CONNECTIONS = 500
_STAY_SECONDS = 3600


async def lingering(target: Target, crew: Crew) -> None:
    """500 that ask for a close after the answer and stay."""
    request = target.get("/v1/openapi.json", Connection="close")

    async def part(number: int) -> None:
        with closing(await connect(target)) as connection:
            await connection.send(request)
            crew.in_place(number)
            await connection.ended()
            crew.counts["answered"] += 1
            await asyncio.sleep(_STAY_SECONDS)  # this end stays open

    await crew.run(CONNECTIONS, part)
