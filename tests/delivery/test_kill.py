"""kill -9 of a worker under load: nothing is lost, and no more comes twice than was in flight.

DELIVERY_KILLS=20 kills more often than the two times of a usual run.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from smsgateway.config import Config
from tests.delivery.harness import PARTITIONS, config_of_its_own, produce, read_statuses, requested, wait_until

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("DELIVERY_KILLS", "2"))
IN_FLIGHT = 60
EACH = 400


class CountingOperator:
    """MCI's API: takes everything after 30 ms, and counts how often each reference came."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    async def _submit(self, request: web.Request) -> web.Response:
        reference = (await request.json())["reference"]
        self.taken[reference] += 1
        await asyncio.sleep(0.03)
        return web.json_response({"messageId": f"id-{reference}"}, status=202)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """The URL, while the body runs."""
        ready = threading.Event()

        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            application = web.Application()
            application.router.add_post("/mci/v1/messages", self._submit)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._port = runner.addresses[0][1]
            ready.set()
            await self._stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        assert ready.wait(30)
        try:
            yield f"http://127.0.0.1:{self._port}"
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(30)


def worker(config: Config, url: str) -> subprocess.Popen[bytes]:
    kafka = config.kafka
    own = {
        "KAFKA_BROKERS": ",".join(kafka.brokers),
        "KAFKA_TOPIC_DELIVERY": kafka.topic_delivery,
        "KAFKA_TOPIC_STATUS": kafka.topic_status,
        "KAFKA_TOPIC_RECEIPTS": kafka.topic_receipts,
        "KAFKA_TOPIC_DEAD_LETTER": kafka.topic_dead_letter,
        "KAFKA_CONSUMER_GROUP_PREFIX": kafka.consumer_group_prefix,
        "KAFKA_CONSUMER_SESSION_TIMEOUT": "6000",
        "WORKER_CONCURRENCY": str(IN_FLIGHT),
        "OPERATOR_MCI_URL": url,
        "METRICS_PORT": "0",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:9/none",  # a worker needs no PostgreSQL
    }
    return subprocess.Popen([sys.executable, "manage.py", "deliver"], cwd=ROOT, env=os.environ | own)


def test_a_killed_worker_loses_nothing_and_repeats_no_more_than_was_in_flight() -> None:
    config = config_of_its_own()
    operator = CountingOperator()
    sent: list[str] = []

    def send(count: int) -> None:
        messages = [requested(operator="mci", customer_id=f"C{number % 9}") for number in range(count)]
        produce(config, [(number % PARTITIONS, message) for number, message in enumerate(messages)])
        sent.extend(message.message_id for message in messages)

    with operator.listening() as url:
        running = worker(config, url)
        try:
            for _ in range(KILLS):
                before = operator.taken.total()
                send(2 * EACH)
                wait_until(lambda before=before: operator.taken.total() >= before + EACH)  # type: ignore[misc]
                running.send_signal(signal.SIGKILL)
                running.wait()
                running = worker(config, url)
            wait_until(lambda: len(operator.taken) == len(sent))
            running.terminate()
            assert running.wait(60) == 0
        finally:
            running.kill()
            running.wait()
    assert set(operator.taken) == set(sent)
    assert operator.taken.total() - len(sent) <= KILLS * IN_FLIGHT
    assert {event.message_id for event in read_statuses(config)} == set(sent)
