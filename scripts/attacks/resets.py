"""50 clients that reset their connection in the middle of a request, or before its answer, once a second each."""

from __future__ import annotations

from contextlib import suppress

from scripts.attacks.crew import Crew
from scripts.attacks.target import Target, connect

CLIENTS = 50
_PAUSE_SECONDS = 1.0


async def resets(target: Target, crew: Crew) -> None:
    """50 clients that reset their connection in the middle, once a second each."""
    request = target.send()
    cuts = (len(request) // 4, len(request) - 5, len(request))

    async def part(number: int) -> None:
        connection = await connect(target)
        with suppress(OSError):
            await connection.send(request[: cuts[number % len(cuts)]])
        connection.reset()
        crew.in_place(number)

    await crew.run(CLIENTS, part, pause=_PAUSE_SECONDS)
