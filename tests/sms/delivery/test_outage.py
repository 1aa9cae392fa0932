"""An operator over HTTP goes away and comes back: nothing is lost or sent twice, others do not notice.

DELIVERY_OUTAGE=60 keeps it away for a minute longer than it takes until all its messages wait on Kafka.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter

import pytest

from tests.support.delivery import (
    PARTITIONS,
    config_of_its_own,
    produce,
    read_all,
    read_statuses,
    requested,
    wait_until,
)
from tests.support.worker_processes import CountingOperator, worker

OUTAGE = float(os.environ.get("DELIVERY_OUTAGE", "0"))
EACH = 300


@pytest.mark.kills
def test_an_outage_delays_its_own_messages_alone_and_loses_none() -> None:
    config = config_of_its_own()
    mci, irancell = CountingOperator(), CountingOperator()
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    sent: list[str] = []

    def send(name: str, to: str) -> None:
        messages = [requested(operator=name, to=to, customer_id=f"C{number % 9}") for number in range(EACH)]
        produce(config, [(number % PARTITIONS, message) for number, message in enumerate(messages)])
        sent.extend(message.message_id for message in messages)

    with irancell.listening() as other_url:
        running = worker(config, f"http://127.0.0.1:{port}", irancell=other_url)
        try:
            with mci.listening(port):
                send("mci", "+989121234567")
                wait_until(lambda: len(mci.taken) == EACH)
            # It is away now: its port refuses.
            send("mci", "+989121234567")
            send("irancell", "+989351234567")
            wait_until(lambda: len(irancell.taken) == EACH)
            retries = [topic for _, topic in config.kafka.retry_topics]
            wait_until(lambda: sum(len(read_all(config, topic)) for topic in retries) >= EACH)
            if OUTAGE:
                threading.Event().wait(OUTAGE)
            send("irancell", "+989351234567")
            wait_until(lambda: len(irancell.taken) == 2 * EACH)
            assert len(mci.taken) == EACH
            with mci.listening(port):
                wait_until(lambda: len(mci.taken) == 2 * EACH, timeout=OUTAGE + 180)
                running.terminate()
                assert running.wait(60) == 0
        finally:
            running.kill()
            running.wait()
    assert mci.taken + irancell.taken == Counter(sent)
    assert Counter(event.status for event in read_statuses(config)) == {"submitted": len(sent)}
