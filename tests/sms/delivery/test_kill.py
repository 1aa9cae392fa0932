"""kill -9 of a worker under load: nothing is lost, and no more comes twice than was in flight.

DELIVERY_KILLS=20 kills more often than the two times of a usual run.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from apps.sms import events
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from tests.support.delivery import (
    PARTITIONS,
    WAIT_SECONDS,
    config_of_its_own,
    produce,
    read_all,
    read_statuses,
    requested,
    wait_until,
)
from tests.support.worker_processes import CountingOperator, worker

KILLS = int(os.environ.get("DELIVERY_KILLS", "2"))
IN_FLIGHT = 60
EACH = 400


def survive(config: Config, sent: list[events.DeliveryRequested], *, step: Callable[[], None], taken: int) -> None:
    """Let workers take what is in `sent`, one after the other: after each `step` another `taken` messages, then it is
    killed. The last one takes what is left. Nothing is lost, and no more comes twice than was in flight at the kills.
    """
    operator = CountingOperator()
    with operator.listening() as url:
        running = worker(config, url)
        try:
            for _ in range(KILLS):
                before = len(operator.taken)  # distinct ones: what comes twice is no progress
                step()
                wait_until(lambda before=before: len(operator.taken) >= before + taken)  # type: ignore[misc]
                running.send_signal(signal.SIGKILL)
                running.wait()
                running = worker(config, url)
            wait_until(lambda: len(operator.taken) == len(sent))
            running.terminate()
            assert running.wait(60) == 0
        finally:
            running.kill()
            running.wait()
    assert set(operator.taken) == {message.message_id for message in sent}
    assert operator.taken.total() - len(sent) <= KILLS * IN_FLIGHT
    assert {event.message_id for event in read_statuses(config)} == set(operator.taken)


@pytest.mark.kills
def test_a_killed_worker_loses_nothing_and_repeats_no_more_than_was_in_flight() -> None:
    config = config_of_its_own(concurrency=IN_FLIGHT)
    sent: list[events.DeliveryRequested] = []

    def send() -> None:
        messages = [requested(operator="mci", customer_id=f"C{number % 9}") for number in range(2 * EACH)]
        produce(config, [(number % PARTITIONS, message) for number, message in enumerate(messages)])
        sent.extend(messages)

    survive(config, sent, step=send, taken=EACH)


def on_lanes(config: Config) -> int:
    """How many messages have been put on overflow lanes."""
    consumer = kafka.consumer(config.kafka, process="test-reader")
    try:
        known = consumer.list_topics(timeout=WAIT_SECONDS).topics
        topics = [topic for topic in config.kafka.overflow_topics if topic in known]
    finally:
        consumer.close()
    return sum(len(read_all(config, topic)) for topic in topics)


@pytest.mark.kills
def test_a_killed_worker_loses_nothing_of_what_waits_on_overflow_lanes() -> None:
    config = config_of_its_own(concurrency=IN_FLIGHT, queue_size=20, overflow_lanes=2)
    # Three backlogs on two lanes, long enough that some of them is left after the last kill.
    backlog = EACH // 2 + KILLS * EACH // 24
    sent = [
        requested(operator="mci", customer_id=customer_id, segments_per_second=pace)
        for _ in range(backlog)
        for customer_id, pace in (("A", 30), ("B", 40), ("C", 60))
    ]
    produce(config, [(0, message) for message in sent])
    survive(config, sent, step=lambda: wait_until(lambda: on_lanes(config) >= 3 * (backlog - 20)), taken=EACH // 8)
