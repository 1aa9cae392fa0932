"""Delivery workers as processes of their own, and an operator over HTTP that remembers what came when."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from smsgateway.config import Config

ROOT = Path(__file__).parents[2]
SECONDS = 30


class CountingOperator:
    """MCI's and Irancell's API: takes all after 30 ms; remembers how often each reference came, and when."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.times: list[tuple[float, str]] = []

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        reference = body.get("reference") or body["clientRef"]
        self.taken[reference] += 1
        self.times.append((time.monotonic(), reference))
        await asyncio.sleep(0.03)
        if "clientRef" in body:
            return web.json_response({"status": 0, "id": f"id-{reference}"})
        return web.json_response({"messageId": f"id-{reference}"}, status=202)

    @contextmanager
    def listening(self, port: int = 0) -> Iterator[str]:
        """The URL, while the body runs; port 0 is any."""
        ready = threading.Event()

        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            application = web.Application()
            application.router.add_post("/mci/v1/messages", self._submit)
            application.router.add_post("/irancell/sms/submit", self._submit)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
            self._port = runner.addresses[0][1]
            ready.set()
            await self._stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        assert ready.wait(SECONDS)
        try:
            yield f"http://127.0.0.1:{self._port}"
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(SECONDS)


def worker(config: Config, url: str, *, irancell: str = "http://127.0.0.1:9") -> subprocess.Popen[bytes]:
    """`manage.py deliver` with these topics and settings; MCI is at the URL, Irancell at the other."""
    kafka = config.kafka
    own = {
        "KAFKA_BROKERS": ",".join(kafka.brokers),
        "KAFKA_TOPIC_DELIVERY": kafka.topic_delivery,
        "KAFKA_TOPIC_STATUS": kafka.topic_status,
        "KAFKA_TOPIC_RECEIPTS": kafka.topic_receipts,
        "KAFKA_TOPIC_HELD": kafka.topic_held,
        "KAFKA_TOPIC_SUSPENDED": kafka.topic_suspended,
        "KAFKA_TOPIC_DEAD_LETTER": kafka.topic_dead_letter,
        "KAFKA_CONSUMER_GROUP_PREFIX": kafka.consumer_group_prefix,
        "KAFKA_CONSUMER_SESSION_TIMEOUT": "6000",
        "KAFKA_OVERFLOW_LANES": str(kafka.overflow_lanes),
        "WORKER_CONCURRENCY": str(config.worker.concurrency),
        "WORKER_QUEUE_SIZE": str(config.worker.queue_size),
        "OPERATOR_MCI_URL": url,
        "OPERATOR_IRANCELL_URL": irancell,
        "METRICS_PORT": "0",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:9/none",  # a worker needs no PostgreSQL
    }
    return subprocess.Popen([sys.executable, "manage.py", "deliver"], cwd=ROOT, env=os.environ | own)
