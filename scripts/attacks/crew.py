"""Keeps a number of attackers at work until they are called off."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

_PAUSE_SECONDS: Final = 0.05  # before the next try


class Crew:
    """Attackers, each of which does its part again and again. `counts`: what they did, by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._standing = asyncio.Event()
        self._waited_for: set[int] = set()

    async def run(self, size: int, part: Callable[[int], Awaitable[None]], *, pause: float = _PAUSE_SECONDS) -> None:
        """Run `part` in each of `size` tasks, with the task's number, until cancelled. It may raise OSError.

        `pause`: seconds between two times.
        """
        self._waited_for = set(range(size))
        async with asyncio.TaskGroup() as group:
            for number in range(size):
                group.create_task(self._work(part, number, pause))

    async def standing(self) -> None:
        """Wait until each attacker has reported `in_place`."""
        await self._standing.wait()

    def in_place(self, number: int) -> None:
        """This attacker's part has begun."""
        self._waited_for.discard(number)
        if not self._waited_for:
            self._standing.set()

    async def _work(self, part: Callable[[int], Awaitable[None]], number: int, pause: float) -> None:
        while True:
            try:
                await part(number)
                self.counts["done"] += 1
            except (OSError, EOFError) as error:
                self.counts[type(error).__name__] += 1
            await asyncio.sleep(pause)
