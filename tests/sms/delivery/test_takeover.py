"""The order in which messages of partitions that were just taken over are queued."""

from __future__ import annotations

from typing import cast

from confluent_kafka import Message

from apps.sms.delivery.jobs import Job, Partition, Place
from apps.sms.delivery.takeover import Takeovers, Turn
from tests.support.delivery import config_of_its_own, requested

CONFIG = config_of_its_own().kafka
NORMAL = Partition(CONFIG.topic_delivery, 0)
LANE = Partition(CONFIG.overflow_topics[1], 0)
NONE = cast(Message, None)


class Reading:
    """Partition 0 comes with messages on a lane; its last owner had read the normal lane up to offset 10."""

    def __init__(self) -> None:
        self.takeovers = Takeovers(CONFIG)
        self.position = 5
        self.unread = {LANE}
        self.takeovers.assigned(0, {NORMAL: 10}, [LANE], now=0.0)

    def turn(self, partition: Partition, offset: int) -> Turn:
        return self.takeovers.turn(Job(requested(), Place(partition, offset)), NONE)

    def due(self, *, now: float = 1.0) -> list[Place]:
        found = self.takeovers.due(position=lambda _partition: self.position, unread=self.unread, now=now)
        return [job.place for job, _ in found]


def test_first_what_was_read_before_then_the_lanes_then_what_is_new() -> None:
    reading = Reading()
    assert reading.turn(LANE, 0) is Turn.LATER
    assert reading.turn(NORMAL, 5) is Turn.AT_ONCE
    assert reading.turn(NORMAL, 10) is Turn.LATER
    assert reading.due() == []
    assert reading.takeovers.held() == {LANE}
    reading.position = 11
    assert reading.due() == [Place(LANE, 0), Place(NORMAL, 10)]
    assert reading.takeovers.held() == set()
    assert reading.turn(NORMAL, 11) is Turn.AS_USUAL


def test_what_is_new_waits_until_something_of_every_lane_was_read() -> None:
    reading = Reading()
    reading.position = 10
    assert reading.due() == []
    assert NORMAL in reading.takeovers.held()
    assert LANE not in reading.takeovers.held()
    assert reading.turn(NORMAL, 10) is Turn.LATER
    assert reading.due() == []
    assert reading.turn(LANE, 0) is Turn.AS_USUAL
    assert reading.due() == [Place(NORMAL, 10)]


def test_a_lane_whose_messages_are_all_done_is_not_waited_for() -> None:
    reading = Reading()
    reading.position = 10
    reading.unread = set()
    assert reading.turn(NORMAL, 10) is Turn.LATER
    assert reading.due() == [Place(NORMAL, 10)]


def test_a_lane_that_cannot_be_read_holds_nothing_up_for_long() -> None:
    reading = Reading()
    reading.position = 10
    assert reading.turn(NORMAL, 10) is Turn.LATER
    assert reading.due(now=9.0) == []
    assert reading.due(now=11.0) == [Place(NORMAL, 10)]


def test_partitions_without_messages_on_lanes_and_those_given_up_are_read_as_usual() -> None:
    reading = Reading()
    reading.takeovers.assigned(1, {Partition(NORMAL.topic, 1): 10}, [], now=0.0)
    assert reading.turn(Partition(NORMAL.topic, 1), 10) is Turn.AS_USUAL
    assert reading.turn(NORMAL, 10) is Turn.LATER
    reading.takeovers.given_up({0})
    assert reading.turn(NORMAL, 10) is Turn.AS_USUAL
    assert reading.due() == []
