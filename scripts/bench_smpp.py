"""Measures the delivery worker's CPU time per submit over SMPP: python -m scripts.bench_smpp

A child process answers each submit_sm at once. The figure is this process's own CPU time from the message to its
submission, including the event loop's share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from apps.sms.events import DeliveryRequested
from apps.sms.operators.base import Receipt
from apps.sms.operators.smpp.client import Smpp
from scripts import smsc_sink
from smsgateway import config, ids

MESSAGES = 20_000
IN_FLIGHT = 50
TEXTS = {
    "gsm7, 1 part": ("Your code is 123456. Do not give it to anybody.", "gsm7", 1),
    "ucs2, 1 part": ("کد شما ۱۲۳۴۵۶ است. آن را به کسی ندهید.", "ucs2", 1),
    "gsm7, 3 parts": ("Your code is 123456. " * 20, "gsm7", 3),
}


async def _measure(client: Smpp, text: str, encoding: str, segments: int) -> float:
    """Microseconds of CPU per message."""
    messages = iter(
        [
            DeliveryRequested(
                message_id=ids.to_text(ids.new_id()),
                customer_id=ids.to_text(ids.new_id()),
                accepted_at=0,
                expires_at=int(time.time() + 3600) * 1000,
                operator="bench",
                to="+989121234567",
                sender="98100",
                text=text,
                encoding=encoding,
                segments=segments,
                cost=1,
                segments_per_second=1,
            )
            for _ in range(MESSAGES)
        ]
    )

    async def submit_all() -> None:
        for message in messages:
            await client.submit(message)

    before = time.process_time()
    await asyncio.gather(*(submit_all() for _ in range(IN_FLIGHT)))
    return (time.process_time() - before) / MESSAGES * 1e6


async def _run(port: int) -> None:
    found, _ = config.load(
        {
            "OPERATORS_SMPP": "bench",
            "OPERATOR_BENCH_HOST": "127.0.0.1",
            "OPERATOR_BENCH_PORT": str(port),
            "OPERATOR_BENCH_SYSTEM_ID": "bench",
            "OPERATOR_BENCH_PASSWORD": "bench",
            "OPERATOR_BENCH_IN_FLIGHT": str(IN_FLIGHT),
        }
    )
    client = Smpp("bench", found.smpp_operators["bench"])

    async def no_receipts(_receipt: Receipt) -> None: ...

    await client.start(no_receipts)
    while not client.is_connected:  # noqa: ASYNC110  # it sets no event
        await asyncio.sleep(0.01)
    for name, (text, encoding, segments) in TEXTS.items():
        cost = await _measure(client, text, encoding, segments)
        sys.stdout.write(json.dumps({"message": name, "cpu_microseconds": round(cost, 1)}) + "\n")
    await client.close()


def main() -> None:
    """Print a JSON line for each kind of message."""
    with smsc_sink.running() as sink:
        asyncio.run(_run(sink.port))


if __name__ == "__main__":
    main()
