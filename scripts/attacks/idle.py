"""2,000 connections on which nothing is ever sent."""

from __future__ import annotations

from contextlib import closing

from scripts.attacks.crew import Crew
from scripts.attacks.target import Target, connect

CONNECTIONS = 2000


async def idle(target: Target, crew: Crew) -> None:
    """2,000 connections that send nothing."""

    async def part(number: int) -> None:
        with closing(await connect(target)) as connection:
            crew.in_place(number)
            await connection.ended()

    await crew.run(CONNECTIONS, part)
