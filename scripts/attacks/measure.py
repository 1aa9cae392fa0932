"""How single sends and health checks are answered."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from contextlib import closing
from typing import NamedTuple

from scripts.attacks.target import Connection, Target, connect

CONNECTIONS = 4
_HEALTH_SECONDS = 0.25
_ANSWER_SECONDS = 60.0


class Figures(NamedTuple):
    """Of single sends: the answers by status, and latencies in milliseconds. `health_ms`: of the slowest check."""

    answers: dict[str, int]
    rate: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    health_ms: float


async def measure(target: Target, *, seconds: float) -> Figures:
    """Send over CONNECTIONS connections, each again as soon as it is answered, and check the health meanwhile."""
    answers: Counter[str] = Counter()
    sends: list[float] = []
    checks: list[float] = []
    until = time.monotonic() + seconds

    async def send() -> None:
        request = target.send(to="09121234501")
        while time.monotonic() < until:
            try:
                with closing(await connect(target, as_attacker=False)) as connection:
                    while time.monotonic() < until:
                        answers[str(await _timed(connection, request, sends))] += 1
            except (OSError, EOFError, TimeoutError) as error:
                answers[type(error).__name__] += 1

    async def check() -> None:
        request = target.get("/healthz", Connection="close")
        while time.monotonic() < until:
            try:
                with closing(await connect(target, as_attacker=False)) as connection:
                    await _timed(connection, request, checks)
            except (OSError, EOFError, TimeoutError) as error:
                answers[f"health {type(error).__name__}"] += 1
                checks.append(_ANSWER_SECONDS)
            await asyncio.sleep(_HEALTH_SECONDS)

    await asyncio.gather(check(), *(send() for _ in range(CONNECTIONS)))
    sends = sorted(sends) or [_ANSWER_SECONDS]
    return Figures(
        answers=dict(answers),
        rate=round(len(sends) / seconds, 1),
        p50_ms=_milliseconds(statistics.median(sends)),
        p99_ms=_milliseconds(sends[min(len(sends) - 1, len(sends) * 99 // 100)]),
        slowest_ms=_milliseconds(sends[-1]),
        health_ms=_milliseconds(max(checks)),
    )


async def _timed(connection: Connection, request: bytes, seconds: list[float]) -> int:
    """The answer's status; its latency goes to `seconds`, also if it fails."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await connection.send(request)
            return await connection.status()
    finally:
        seconds.append(time.perf_counter() - started)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
