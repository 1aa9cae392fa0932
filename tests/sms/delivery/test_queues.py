"""Customers' queues: turns, paces, bounds."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from apps.sms.delivery.jobs import RANKS, Job, Partition, Place
from apps.sms.delivery.pacing import Paces
from apps.sms.delivery.queues import CustomerQueues
from tests.support.delivery import requested

NORMAL = RANKS["normal"]

_offsets = itertools.count()


def in_lane(number: int) -> Partition:
    return Partition("sms.delivery", number)


def job(
    customer: str = "A",
    *,
    partition: int = 0,
    pace: int = 10,
    segments: int = 1,
    expired: bool = False,
    priority: str = "normal",
) -> Job:
    message = requested(
        customer_id=customer,
        segments_per_second=pace,
        segments=segments,
        expires_at=int(time.time() * 1000) + (-1 if expired else 3_600_000),
        priority=priority,
    )
    return Job(message, Place(in_lane(partition), next(_offsets)))


def fill(queues: CustomerQueues, count: int, customer: str = "A", **options: Any) -> list[Job]:
    jobs = [job(customer, **options) for _ in range(count)]
    for each in jobs:
        queues.put(each)
    return jobs


def take_all(queues: CustomerQueues, *, now: float) -> list[Job]:
    """Everything that may go out at this time."""
    found = []
    while (each := queues.next(now=now)[0]) is not None:
        found.append(each)
    return found


def customers(jobs: list[Job]) -> str:
    return "".join(each.message.customer_id for each in jobs)


def test_a_customer_with_100_000_messages_delays_anothers_single_one_by_one_turn() -> None:
    queues = CustomerQueues(Paces(), capacity=200_000)
    fill(queues, 100_000, "A", pace=1_000_000)
    assert customers([queues.next(now=0.0)[0] or job("none")]) == "A"
    fill(queues, 1, "B")
    assert "B" in customers([queues.next(now=0.0)[0] or job("none") for _ in range(2)])


def test_a_customer_that_waits_for_its_pace_delays_nobody() -> None:
    queues = CustomerQueues(Paces(), capacity=200_000)
    fill(queues, 100_000, "A", pace=1)
    assert customers(take_all(queues, now=0.0)) == "A"
    fill(queues, 1, "B")
    assert customers(take_all(queues, now=0.0)) == "B"


def test_customers_are_served_in_turn_and_each_in_order() -> None:
    queues = CustomerQueues(Paces(), capacity=100)
    first = fill(queues, 3, "A")
    fill(queues, 3, "B")
    served = take_all(queues, now=0.0)
    assert customers(served) == "ABABAB"
    assert served[::2] == first


def test_each_customer_keeps_its_own_pace_in_segments() -> None:
    queues = CustomerQueues(Paces(), capacity=1000)
    fill(queues, 200, "A", pace=10, segments=2)
    fill(queues, 200, "B", pace=30)
    served = "".join(customers(take_all(queues, now=tenths / 10)) for tenths in range(31))
    # One second's worth at once, then three seconds at the pace.
    assert served.count("A") == 4 * 10 // 2
    assert served.count("B") == 4 * 30


def test_it_returns_the_seconds_until_the_next_message() -> None:
    queues = CustomerQueues(Paces(), capacity=100)
    assert queues.next(now=0.0) == (None, float("inf"))
    fill(queues, 2, pace=1)
    take_all(queues, now=0.0)
    assert queues.next(now=0.0) == (None, pytest.approx(1.0))
    assert len(take_all(queues, now=1.0)) == 1
    assert queues.next(now=1.0) == (None, float("inf"))


def test_what_is_put_back_goes_before_its_customers_other_messages_at_the_same_pace() -> None:
    queues = CustomerQueues(Paces(), capacity=100)
    fill(queues, 1, pace=1)
    [again] = take_all(queues, now=0.0)
    waiting = fill(queues, 2, pace=1)
    queues.put_back(again)
    assert len(queues) == 3
    assert queues.next(now=0.5) == (None, pytest.approx(0.5))
    assert [queues.next(now=now)[0] for now in (1.0, 2.0, 3.0)] == [again, *waiting]
    assert len(queues) == 0


def test_turns_are_counted_in_segments() -> None:
    queues = CustomerQueues(Paces(), capacity=1000)
    fill(queues, 100, "A", pace=10_000, segments=5)
    fill(queues, 500, "B", pace=10_000)
    served = [queues.next(now=0.0)[0] for _ in range(300)]
    segments = [
        sum(each.message.segments for each in served if each and each.message.customer_id == who) for who in "AB"
    ]
    assert abs(segments[0] - segments[1]) <= 5


def test_two_operators_queues_share_a_customers_pace() -> None:
    paces = Paces()
    mci, irancell = (CustomerQueues(paces, capacity=100) for _ in range(2))
    for queues in (mci, irancell):
        fill(queues, 20, pace=10)
    assert len(take_all(mci, now=0.0)) == 10
    assert take_all(irancell, now=0.0) == []
    assert len(take_all(irancell, now=0.5)) + len(take_all(mci, now=0.5)) == 5


def test_expired_messages_cost_no_pace() -> None:
    queues = CustomerQueues(Paces(), capacity=100)
    for _ in range(50):
        queues.put(job(pace=1, expired=True))
    live = fill(queues, 1, pace=1)
    assert take_all(queues, now=0.0)[50:] == live


def test_a_queue_is_full_by_customer_and_priority_and_opens_half_empty() -> None:
    queues = CustomerQueues(Paces(), capacity=10)
    assert queues.is_half_empty("A", NORMAL)
    assert not queues.is_full("A", NORMAL)
    fill(queues, 10, "A")
    fill(queues, 9, "B")
    assert [queues.is_full(customer, NORMAL) for customer in "AB"] == [True, False]
    assert not queues.is_full("A", RANKS["otp"])
    queues.take_all()
    fill(queues, 6, "A")
    assert not queues.is_half_empty("A", NORMAL)
    queues.next(now=1e6)
    assert queues.is_half_empty("A", NORMAL)


def test_everything_can_be_taken_out_the_most_urgent_first() -> None:
    queues = CustomerQueues(Paces(), capacity=10)
    bulk = fill(queues, 2, "A", priority="bulk")
    waiting = fill(queues, 3, "B", pace=1)
    urgent = fill(queues, 1, "C", priority="otp")
    assert queues.next(now=0.0)[0] is urgent[0]
    assert queues.next(now=0.0)[0] is waiting[0]
    assert queues.take_all() == [*waiting[1:], *bulk]
    assert len(queues) == 0
    assert queues.next(now=1e9) == (None, float("inf"))
    again = fill(queues, 1, "A")
    assert take_all(queues, now=1e9) == again


def test_given_away_partitions_leave_nothing_behind() -> None:
    queues = CustomerQueues(Paces(), capacity=4)
    fill(queues, 4, "A", partition=0)
    staying = fill(queues, 2, "B", partition=1)
    queues.drop_partitions({in_lane(0)})
    assert len(queues) == 2
    assert not queues.is_full("A", NORMAL)
    assert take_all(queues, now=1.0) == staying
    fresh = fill(queues, 1, "A", partition=2)
    assert take_all(queues, now=1.0) == fresh


def test_idle_customers_are_forgotten_only_when_that_changes_no_pace() -> None:
    paces = Paces()
    queues = CustomerQueues(paces, capacity=100)

    def forget_idle(now: float) -> None:
        queues.forget_idle()
        paces.forget_idle(now=now)

    fill(queues, 10, pace=10)
    take_all(queues, now=0.0)
    forget_idle(now=0.5)
    fill(queues, 10, pace=10)
    assert len(take_all(queues, now=0.5)) == 5
    forget_idle(now=0.5)
    assert len(take_all(queues, now=1.0)) == 5


def test_a_partition_that_came_from_another_worker_brings_no_saved_up_second() -> None:
    paces = Paces()
    queues = CustomerQueues(paces, capacity=100)
    paces.assigned({0}, now=100.0)
    fill(queues, 50, pace=10)
    assert len(take_all(queues, now=100.0)) == 0
    assert len(take_all(queues, now=100.5)) == 5
    paces.given_up({0})
    paces.assigned({0}, now=200.0)
    assert len(take_all(queues, now=200.1)) == 1


def test_otp_overtakes_normal_and_normal_overtakes_bulk() -> None:
    queues = CustomerQueues(Paces(), capacity=100)
    bulk = fill(queues, 3, "A", priority="bulk")
    normal = fill(queues, 2, "B", priority="normal")
    mine = fill(queues, 1, "A", priority="normal")
    urgent = fill(queues, 2, "A", priority="otp")
    assert take_all(queues, now=0.0) == [urgent[0], urgent[1], normal[0], mine[0], normal[1], *bulk]


def test_an_otp_that_waits_for_its_pace_is_not_robbed_by_what_is_behind_it() -> None:
    queues = CustomerQueues(Paces(), capacity=100)
    fill(queues, 1, pace=2, segments=2)
    take_all(queues, now=0.0)
    bulk = fill(queues, 4, pace=2, priority="bulk")
    long = fill(queues, 1, pace=2, segments=2, priority="otp")
    assert take_all(queues, now=0.5) == []
    assert take_all(queues, now=1.0) == long
    assert take_all(queues, now=2.0) == bulk[:2]


def test_an_otp_of_one_customer_goes_before_the_backlog_of_all() -> None:
    queues = CustomerQueues(Paces(), capacity=1000)
    for customer in "ABC":
        fill(queues, 100, customer, pace=1000)
    [urgent] = fill(queues, 1, "C", pace=1000, priority="otp")
    assert queues.next(now=0.0)[0] is urgent
    assert len(take_all(queues, now=0.0)) == 300
