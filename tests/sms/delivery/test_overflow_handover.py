"""What waits on overflow lanes when its partition changes hands: all of it is delivered, once, in order."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from prometheus_client import REGISTRY

from apps.sms import events
from smsgateway.config import Config
from tests.support.delivery import (
    PARTITIONS,
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_all,
    requested,
    wait_until,
)

Messages = list[events.DeliveryRequested]


def overflowed() -> float:
    return REGISTRY.get_sample_value("delivery_overflowed_total") or 0.0


def backlog_of(customer_id: str, count: int, **changes: Any) -> Messages:
    return [requested(customer_id=customer_id, **changes) for _ in range(count)]


def together(backlogs: list[Messages]) -> Messages:
    """Messages of these backlogs in turn."""
    return [message for messages in zip(*backlogs, strict=True) for message in messages]


def with_lanes(config: Config, count: int) -> Config:
    return dataclasses.replace(config, kafka=dataclasses.replace(config.kafka, overflow_lanes=count))


def assert_each_once_in_order(backlogs: list[Messages], *operators: ScriptedOperator) -> None:
    accepted = [message_id for operator in operators for message_id in operator.accepted.elements()]
    for messages in backlogs:
        wanted = [message.message_id for message in messages]
        own = set(wanted)
        assert [message_id for message_id in accepted if message_id in own] == wanted
    assert len(accepted) == sum(len(messages) for messages in backlogs)


# At first a queue holds what came from the delivery topic, later what came back from a lane.
@pytest.mark.parametrize("stop_after", [8, 200])
def test_after_a_restart_nothing_is_lost_and_no_later_message_overtakes(stop_after: int) -> None:
    config = config_of_its_own(queue_size=40)
    backlogs = [backlog_of(name, 300, segments_per_second=pace) for name, pace in (("A", 60), ("B", 90), ("C", 120))]
    produce(config, [(1, message) for message in together(backlogs)])
    first, second = ScriptedOperator(), ScriptedOperator()
    before = overflowed()
    with RunningWorker(config, first):
        wait_until(lambda: overflowed() - before >= 3 * 250 and first.accepted.total() >= stop_after)
    later = [backlog_of(name, 30, segments_per_second=100) for name in "ABC"]
    produce(config, [(1, message) for message in together(later)])
    with RunningWorker(config, second):
        wait_until(lambda: first.accepted.total() + second.accepted.total() >= 3 * 330)
    assert_each_once_in_order([old + new for old, new in zip(backlogs, later, strict=True)], first, second)


def test_a_worker_that_joins_goes_on_with_the_backlogs_of_its_partitions() -> None:
    config = config_of_its_own(queue_size=30)
    backlogs = [
        backlog_of(f"{number}{name}", 200, segments_per_second=20) for number in range(PARTITIONS) for name in "AB"
    ]
    produce(config, [(int(message.customer_id[0]), message) for message in together(backlogs)])
    first, second = ScriptedOperator(), ScriptedOperator()
    before = overflowed()
    with RunningWorker(config, first):
        wait_until(lambda: overflowed() - before >= 8 * 160)
        with RunningWorker(config, second):
            wait_until(lambda: first.accepted.total() + second.accepted.total() >= 8 * 200)
    assert second.accepted, "it took no part"
    assert_each_once_in_order(backlogs, first, second)


def test_lanes_beyond_a_lowered_setting_are_read_until_they_are_empty() -> None:
    config = config_of_its_own(queue_size=30, overflow_lanes=3)
    backlogs = [backlog_of(name, 200, segments_per_second=100) for name in "ABC"]
    produce(config, [(3, message) for message in together(backlogs)])
    first, second = ScriptedOperator(), ScriptedOperator()
    before = overflowed()
    with RunningWorker(config, first):
        wait_until(lambda: overflowed() - before >= 3 * 170)
    lowered = with_lanes(config, 1)
    lanes = [len(read_all(config, topic)) for topic in config.kafka.overflow_topics]
    assert all(lanes), "nothing waits beyond the lowered setting"
    # A new backlog finds a lane too.
    backlogs.append(backlog_of("D", 100, segments_per_second=100))
    produce(config, [(3, message) for message in backlogs[-1]])
    with RunningWorker(lowered, second):
        wait_until(lambda: first.accepted.total() + second.accepted.total() >= 3 * 200 + 100)
    assert_each_once_in_order(backlogs, first, second)
    assert [len(read_all(config, topic)) for topic in config.kafka.overflow_topics[1:]] == lanes[1:]
