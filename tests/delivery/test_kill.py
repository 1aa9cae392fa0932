"""kill -9 of a worker under load: nothing is lost, and no more comes twice than was in flight.

DELIVERY_KILLS=20 kills more often than the two times of a usual run.
"""

from __future__ import annotations

import os
import signal

from smsgateway import kafka
from smsgateway.config import Config
from tests.delivery.harness import (
    PARTITIONS,
    WAIT_SECONDS,
    config_of_its_own,
    produce,
    read_all,
    read_statuses,
    requested,
    wait_until,
)
from tests.delivery.processes import CountingOperator, worker

KILLS = int(os.environ.get("DELIVERY_KILLS", "2"))
IN_FLIGHT = 60
EACH = 400


def test_a_killed_worker_loses_nothing_and_repeats_no_more_than_was_in_flight() -> None:
    config = config_of_its_own(concurrency=IN_FLIGHT)
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


def on_lanes(config: Config) -> int:
    """How many messages have been put on overflow lanes."""
    consumer = kafka.consumer(config.kafka, process="test-reader")
    try:
        known = consumer.list_topics(timeout=WAIT_SECONDS).topics
        topics = [topic for topic in config.kafka.overflow_topics if topic in known]
    finally:
        consumer.close()
    return sum(len(read_all(config, topic)) for topic in topics)


def test_a_killed_worker_loses_nothing_of_what_waits_on_overflow_lanes() -> None:
    config = config_of_its_own(concurrency=IN_FLIGHT, queue_size=20, overflow_lanes=2)
    operator = CountingOperator()
    # Three backlogs on two lanes.
    messages = [
        requested(operator="mci", customer_id=customer_id, segments_per_second=pace)
        for _ in range(EACH // 2)
        for customer_id, pace in (("A", 30), ("B", 40), ("C", 60))
    ]
    produce(config, [(0, message) for message in messages])
    with operator.listening() as url:
        running = worker(config, url)
        try:
            wait_until(lambda: on_lanes(config) >= 3 * (EACH // 2 - 20))
            for _ in range(KILLS):
                before = operator.taken.total()
                wait_until(lambda before=before: operator.taken.total() >= before + EACH / 8)  # type: ignore[misc]
                running.send_signal(signal.SIGKILL)
                running.wait()
                running = worker(config, url)
            wait_until(lambda: len(operator.taken) == len(messages))
            running.terminate()
            assert running.wait(60) == 0
        finally:
            running.kill()
            running.wait()
    assert operator.taken.total() - len(messages) <= KILLS * IN_FLIGHT
    assert {event.message_id for event in read_statuses(config)} == {message.message_id for message in messages}
