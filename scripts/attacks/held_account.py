"""An account whose row a session has locked, and 200 sends to it."""

from __future__ import annotations

import os
from contextlib import closing

import psycopg

from scripts.attacks.crew import Crew
from scripts.attacks.target import Target, connect
from smsgateway import ids

SENDS = 200


async def held_account(target: Target, crew: Crew) -> None:
    """200 sends to an account whose row is locked (by a session on DATABASE_URL)."""
    request = target.send()

    async def part(number: int) -> None:
        with closing(await connect(target)) as connection:
            while True:
                await connection.send(request)
                crew.in_place(number)
                crew.counts[f"answers {await connection.status()}"] += 1

    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"]) as database:
        await database.execute(
            "SELECT FROM balance_account WHERE customer_id = %s FOR UPDATE", [ids.from_text(target.customer)]
        )
        await crew.run(SENDS, part)
