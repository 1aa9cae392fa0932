"""Customers with long backlogs: their messages wait on Kafka, in order, and nobody waits behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from apps.sms import events
from apps.sms.delivery import worker as delivery_worker
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from tests.support.backlogs import backlog_of, overflowed
from tests.support.delivery import (
    WAIT_SECONDS,
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_statuses,
    requested,
    wait_until,
)

BACKLOG = 3000


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


class Holding(ScriptedOperator):
    """Answers no submit of customer A's until it is let go."""

    def __init__(self) -> None:
        super().__init__(self._submit)
        self.go = asyncio.Event()

    async def _submit(self, message: events.DeliveryRequested) -> str:
        if message.customer_id == "A":
            await self.go.wait()
        return f"op-{message.message_id}"

    def has(self, messages: list[events.DeliveryRequested]) -> Callable[[], bool]:
        return lambda: all(message.message_id in self.accepted for message in messages)


def test_a_backlog_delays_nobody_in_its_partition_and_keeps_its_order_in_bounded_memory() -> None:
    config = config_of_its_own(queue_size=100)
    backlog = backlog_of("A", BACKLOG, segments_per_second=400)
    before = overflowed()
    operator = ScriptedOperator()
    with RunningWorker(config, operator):
        produce(config, [(0, message) for message in backlog])
        wait_until(lambda: overflowed() - before > BACKLOG / 3)
        single = requested(customer_id="B")
        produce(config, [(0, single)])
        wait_until(lambda: single.message_id in operator.accepted)
        assert operator.accepted.total() < BACKLOG * 2 / 3, "it waited for the backlog"
        # A queue, and a batch that was on its way when it filled.
        assert metric("delivery_queued_messages") <= 100 + 500
        wait_until(lambda: operator.accepted.total() == BACKLOG + 1)
    order = [message_id for message_id in operator.accepted if message_id != single.message_id]
    assert order == [message.message_id for message in backlog]
    assert len(read_statuses(config)) == BACKLOG + 1


def test_two_backlogs_in_one_partition_do_not_wait_for_each_other() -> None:
    config = config_of_its_own(queue_size=50)
    slow, fast = backlog_of("A", 400, segments_per_second=1), backlog_of("B", 400)
    before = overflowed()
    operator = Holding()
    with RunningWorker(config, operator) as running:
        produce(config, [(0, message) for message in slow])
        wait_until(lambda: overflowed() - before >= 340)
        produce(config, [(0, message) for message in fast])
        wait_until(operator.has(fast))
        assert overflowed() - before >= 340 + 300, "the second had room in its queue, and proves nothing"
        assert list(operator.accepted) == [message.message_id for message in fast]
        running.call(operator.go.set)


def test_a_lane_whose_last_messages_are_in_memory_is_free_for_another_backlog() -> None:
    config = config_of_its_own(queue_size=50)
    slow, fast = backlog_of("A", 120, segments_per_second=1), backlog_of("B", 400)
    before = overflowed()
    operator = Holding()
    with RunningWorker(config, operator) as running:
        produce(config, [(0, message) for message in slow])
        wait_until(lambda: overflowed() - before >= 60 and metric("delivery_overflow_occupied_lanes") == 0)
        produce(config, [(0, message) for message in fast])
        wait_until(operator.has(fast))
        running.call(operator.go.set)


def test_one_time_passwords_do_not_wait_for_the_same_customers_bulk() -> None:
    config = config_of_its_own(queue_size=50)
    bulk = backlog_of("A", 1500, segments_per_second=200, priority="bulk")
    urgent = backlog_of("A", 200, segments_per_second=200, priority="otp")
    before = overflowed()
    operator = ScriptedOperator()
    with RunningWorker(config, operator):
        produce(config, [(0, message) for message in bulk])
        wait_until(lambda: overflowed() - before >= 1200)
        produce(config, [(0, message) for message in urgent])
        wait_until(lambda: all(message.message_id in operator.accepted for message in urgent))
    order = list(operator.accepted)
    first, last = order.index(urgent[0].message_id), order.index(urgent[-1].message_id)
    # While the urgent ones' queue is filled again some others may go.
    assert last - first < 200 + 300


@pytest.mark.parametrize("lanes", [1, 2])
def test_more_backlogs_than_lanes_share_them_and_keep_their_order(lanes: int) -> None:
    config = config_of_its_own(queue_size=20, overflow_lanes=lanes)
    customers = {name: backlog_of(name, 150, segments_per_second=400) for name in "ABCDE"}
    crowded = metric("delivery_overflow_crowded_total")
    operator = ScriptedOperator()
    produce(config, [(2, message) for together in zip(*customers.values(), strict=True) for message in together])
    with RunningWorker(config, operator):
        wait_until(lambda: metric("delivery_overflow_shared_lanes") == lanes)
        assert metric("delivery_overflow_occupied_lanes") == lanes
        assert metric("delivery_overflow_crowded_total") - crowded >= 5 - lanes
        wait_until(lambda: operator.accepted.total() >= 5 * 150)
        wait_until(lambda: metric("delivery_overflow_occupied_lanes") == 0)
    assert set(operator.accepted.values()) == {1}
    for messages in customers.values():
        own = {message.message_id for message in messages}
        assert [message_id for message_id in operator.accepted if message_id in own] == [
            message.message_id for message in messages
        ]


def make_topic(config: Config, topic: str) -> None:
    """The embedded broker makes a topic when a producer asks about it."""
    producer = kafka.producer(config.kafka, client_id="test")
    wait_until(lambda: bool(producer.list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions))


def test_lanes_that_do_not_exist_are_not_used_until_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an upgrade that forgot to create them works as before, with a warning."""
    real = kafka.consumer

    def consumer(config: Any, *, process: str, **options: Any) -> Any:
        return real(config, process=process, **options | {"allow.auto.create.topics": False})

    monkeypatch.setattr(kafka, "consumer", consumer)
    monkeypatch.setattr(delivery_worker, "_HOUSEKEEPING_SECONDS", 0.1)
    config = config_of_its_own(queue_size=50, overflow_lanes=3)
    first, second, third = config.kafka.overflow_topics
    for topic in config.kafka.delivery_topics:
        if topic not in {second, third}:
            make_topic(config, topic)
    slow, fast = backlog_of("A", 300, segments_per_second=1), backlog_of("B", 300)
    before = overflowed()
    operator = Holding()
    with RunningWorker(config, operator) as running:
        produce(config, [(0, message) for message in slow])
        wait_until(lambda: overflowed() - before >= 240)
        assert running.worker._source.partitions.overflow_topics == (first,)
        make_topic(config, second)
        wait_until(lambda: running.worker._source.partitions.overflow_topics == (first, second))
        produce(config, [(0, message) for message in fast])
        wait_until(operator.has(fast))
        running.call(operator.go.set)
    assert third not in kafka.producer(config.kafka, client_id="test").list_topics(timeout=WAIT_SECONDS).topics
