"""Six batches at a time to one account, of 10,000 messages of ten segments each."""

from __future__ import annotations

import json
from contextlib import closing

from scripts.attacks.crew import Crew
from scripts.attacks.target import Target, connect

AT_ONCE = 6
_MESSAGES = 10_000
_TEXT = "x" * 1530  # ten segments


async def batches(target: Target, crew: Crew) -> None:
    """Six batches at a time to one account, of 10,000 messages of ten segments."""
    recipients = [f"+98912{number:07d}" for number in range(_MESSAGES)]
    body = json.dumps({"customer_id": target.customer, "to": recipients, "text": _TEXT, "priority": "bulk"})
    request = target.post("/v1/sms/batch", body)

    async def part(number: int) -> None:
        with closing(await connect(target)) as connection:
            while True:
                await connection.send(request)
                crew.in_place(number)
                crew.counts[f"answers {await connection.status()}"] += 1

    await crew.run(AT_ONCE, part)
