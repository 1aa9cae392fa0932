"""The choice of the lane on which a queue's messages wait."""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY

from apps.sms.delivery.jobs import Job, Partition, Place
from apps.sms.delivery.overflow import OverflowLanes
from tests.support.delivery import requested

LANES = ("lane", "lane.2", "lane.3")


class Inherited:
    """How many messages of another owner each lane's partition has still to bring."""

    def __init__(self, **counts: int) -> None:
        self.counts = {Partition(topic.replace("_", "."), 0): count for topic, count in counts.items()}

    def __call__(self, partition: Partition) -> int:
        return self.counts.get(partition, 0)


def job(customer_id: str, *, topic: str = "delivery", number: int = 0, **changes: Any) -> Job:
    return Job(requested(customer_id=customer_id, **changes), Place(Partition(topic, number), 0))


def crowded() -> float:
    return REGISTRY.get_sample_value("delivery_overflow_crowded_total") or 0.0


def holds(lanes: OverflowLanes, customer_id: str, *, is_waiting: bool = True) -> bool:
    return lanes.holds(job(customer_id), is_waiting=lambda: is_waiting)


def test_every_queue_takes_a_lane_of_its_own_while_there_are_any() -> None:
    lanes = OverflowLanes(inherited=Inherited())
    before = crowded()
    taken = [lanes.entered(one, LANES) for one in (job("A"), job("B"), job("A", priority="otp"), job("A"))]
    assert taken == ["lane", "lane.2", "lane.3", "lane"]
    assert lanes.entered(job("C", number=1), LANES) == "lane", "another partition has lanes of its own"
    assert crowded() == before
    lanes.entered(job("C"), LANES)
    assert crowded() == before + 1


def test_a_queue_keeps_its_lane_until_its_last_message_was_read() -> None:
    lanes = OverflowLanes(inherited=Inherited())
    for _ in range(2):
        lanes.entered(job("A"), LANES)
    lanes.left(job("A", topic="lane"), is_inherited=False)
    assert holds(lanes, "A")
    assert lanes.entered(job("B"), LANES) == "lane.2"
    lanes.left(job("A", topic="lane"), is_inherited=False)
    assert not holds(lanes, "A")
    assert lanes.entered(job("C"), LANES) == "lane"


def test_without_a_free_lane_it_takes_the_one_that_is_soonest_empty_not_the_shortest() -> None:
    lanes = OverflowLanes(inherited=Inherited())
    for customer_id, count, pace in (("slow", 20, 1), ("fast", 500, 1000), ("middle", 100, 10)):
        for _ in range(count):
            lanes.entered(job(customer_id, segments_per_second=pace), LANES)
    assert lanes.entered(job("B"), LANES) == "lane.2"


def test_what_another_owner_left_occupies_its_lane_until_it_was_read() -> None:
    inherited = Inherited(lane=100, lane_2=5)
    lanes = OverflowLanes(inherited=inherited)
    assert lanes.entered(job("B"), LANES) == "lane.3"
    assert lanes.entered(job("C"), LANES[:2]) == "lane.2", "the less of it, the better"
    inherited.counts[Partition("lane", 0)] = 0
    assert lanes.entered(job("D"), LANES) == "lane"


def test_a_queue_of_which_another_owner_left_messages_goes_on_behind_them() -> None:
    inherited = Inherited(lane_2=100)
    lanes = OverflowLanes(inherited=inherited)
    lanes.left(job("A", topic="lane.2"), is_inherited=True)
    assert holds(lanes, "A")
    assert lanes.entered(job("A"), LANES) == "lane.2"
    assert holds(lanes, "A", is_waiting=False), "its own message is there too"
    lanes.left(job("A", topic="lane.2"), is_inherited=True)
    lanes.left(job("A", topic="lane.2"), is_inherited=False)
    assert not holds(lanes, "A")


def test_a_queue_that_has_run_empty_does_not_wait_for_strangers_messages() -> None:
    lanes = OverflowLanes(inherited=Inherited(lane=100))
    lanes.left(job("B", topic="lane"), is_inherited=True)
    assert not holds(lanes, "B", is_waiting=False)
    assert lanes.entered(job("B"), LANES) == "lane.2"


def test_a_lane_is_held_up_only_for_a_queue_that_may_still_be_on_it() -> None:
    inherited = Inherited(lane_3=1)
    lanes = OverflowLanes(inherited=inherited)
    lane, third = Partition("lane", 0), Partition("lane.3", 0)
    rank = job("A").rank
    lanes.entered(job("A"), LANES)
    assert lanes.may_bring(lane, "A", rank)
    assert not lanes.may_bring(lane, "B", rank)
    assert lanes.may_bring(third, "B", rank), "nobody knows whose messages were inherited"
    lanes.left(job("A", topic="lane"), is_inherited=False)
    inherited.counts.clear()
    assert not lanes.may_bring(lane, "A", rank)
    assert not lanes.may_bring(third, "B", rank)


def test_partitions_given_up_take_their_queues_along() -> None:
    lanes = OverflowLanes(inherited=Inherited())
    for number in (0, 1):
        lanes.entered(job("A", number=number), LANES)
    lanes.given_up({0})
    assert not holds(lanes, "A")
    assert lanes.holds(job("A", number=1), is_waiting=lambda: False)
    assert lanes.entered(job("B"), LANES) == "lane"
