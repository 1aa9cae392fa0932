"""What waits on overflow lanes when its partition changes hands: all of it is delivered, once, in order."""

from __future__ import annotations

import dataclasses

import pytest

from smsgateway.config import Config
from tests.support.backlogs import assert_each_once_in_order, backlog_of, overflowed, together
from tests.support.delivery import (
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_all,
    wait_until,
)


def with_lanes(config: Config, count: int) -> Config:
    return dataclasses.replace(config, kafka=dataclasses.replace(config.kafka, overflow_lanes=count))


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
