"""Small gzip bodies with very many empty messages, eight at a time."""

from __future__ import annotations

import gzip
from contextlib import closing

from scripts.attacks.crew import Crew
from scripts.attacks.target import Target, connect

AT_ONCE = 8


async def gzip_100000(target: Target, crew: Crew) -> None:
    """Gzip bodies of 100,000 empty messages, 8 at a time."""
    await _post(target, crew, items=100_000)


async def gzip_1700000(target: Target, crew: Crew) -> None:
    """Gzip bodies of 1,700,000 empty messages, 8 at a time."""
    await _post(target, crew, items=1_700_000)


async def _post(target: Target, crew: Crew, *, items: int) -> None:
    document = f'{{"customer_id":"{target.customer}","messages":[{",".join(["{}"] * items)}]}}'
    request = target.post("/v1/sms/batch", gzip.compress(document.encode()), Content_Encoding="gzip")

    async def part(number: int) -> None:
        with closing(await connect(target)) as connection:
            while True:
                await connection.send(request)
                crew.in_place(number)
                crew.counts[f"answers {await connection.status()}"] += 1

    await crew.run(AT_ONCE, part)
