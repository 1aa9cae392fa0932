"""A customer with a long backlog: its messages wait on Kafka, in order, and nobody behind them does."""

from __future__ import annotations

from prometheus_client import REGISTRY

from tests.delivery.harness import (
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_statuses,
    requested,
    wait_until,
)

BACKLOG = 3000


def queued() -> float:
    return REGISTRY.get_sample_value("delivery_queued_messages") or 0.0


def overflowed() -> float:
    return REGISTRY.get_sample_value("delivery_overflowed_total") or 0.0


def test_a_backlog_delays_nobody_in_its_partition_and_keeps_its_order_in_bounded_memory() -> None:
    config = config_of_its_own(queue_size=100)
    backlog = [requested(customer_id="A", segments_per_second=400) for _ in range(BACKLOG)]
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
        assert queued() <= 100 + 500
        wait_until(lambda: operator.accepted.total() == BACKLOG + 1)
    order = [message_id for message_id in operator.accepted if message_id != single.message_id]
    assert order == [message.message_id for message in backlog]
    assert len(read_statuses(config)) == BACKLOG + 1


def test_what_overflowed_is_delivered_once_after_a_restart() -> None:
    config = config_of_its_own(queue_size=20)
    backlog = [requested(customer_id="A", segments_per_second=100) for _ in range(400)]
    produce(config, [(1, message) for message in backlog])
    first, second = ScriptedOperator(), ScriptedOperator()
    with RunningWorker(config, first):
        wait_until(lambda: first.accepted.total() > 120)
    with RunningWorker(config, second):
        wait_until(lambda: first.accepted.total() + second.accepted.total() >= 400)
    assert sorted([*first.accepted.elements(), *second.accepted.elements()]) == sorted(
        message.message_id for message in backlog
    )
