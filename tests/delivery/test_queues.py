"""Customers' queues: turns, paces, bounds."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from apps.sms.delivery.queues import CustomerQueues, Job, Partition, Place
from tests.delivery.harness import requested

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
        queues.put(each, now=0.0)
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
    queues = CustomerQueues(capacity=200_000)
    fill(queues, 100_000, "A", pace=1_000_000)
    assert customers([queues.next(now=0.0)[0] or job("none")]) == "A"
    fill(queues, 1, "B")
    assert "B" in customers([queues.next(now=0.0)[0] or job("none") for _ in range(2)])


def test_a_customer_that_waits_for_its_pace_delays_nobody() -> None:
    queues = CustomerQueues(capacity=200_000)
    fill(queues, 100_000, "A", pace=1)
    assert customers(take_all(queues, now=0.0)) == "A"
    fill(queues, 1, "B")
    assert customers(take_all(queues, now=0.0)) == "B"


def test_customers_are_served_in_turn_and_each_in_order() -> None:
    queues = CustomerQueues(capacity=100)
    first = fill(queues, 3, "A")
    fill(queues, 3, "B")
    served = take_all(queues, now=0.0)
    assert customers(served) == "ABABAB"
    assert served[::2] == first


def test_each_customer_keeps_its_own_pace_in_segments() -> None:
    queues = CustomerQueues(capacity=1000)
    fill(queues, 200, "A", pace=10, segments=2)
    fill(queues, 200, "B", pace=30)
    served = "".join(customers(take_all(queues, now=tenths / 10)) for tenths in range(31))
    # One second's worth at once, then three seconds at the pace.
    assert served.count("A") == 4 * 10 // 2
    assert served.count("B") == 4 * 30


def test_it_tells_how_long_there_is_nothing_to_do() -> None:
    queues = CustomerQueues(capacity=100)
    assert queues.next(now=0.0) == (None, float("inf"))
    fill(queues, 2, pace=1)
    take_all(queues, now=0.0)
    assert queues.next(now=0.0) == (None, pytest.approx(1.0))
    retried = job("B")
    queues.retry(retried, now=0.0, delay=0.25)
    assert queues.next(now=0.0) == (None, pytest.approx(0.25))
    assert queues.next(now=0.25)[0] is retried


def test_a_retry_goes_before_its_customers_other_messages() -> None:
    queues = CustomerQueues(capacity=100)
    fill(queues, 1)
    [again] = take_all(queues, now=0.0)
    waiting = fill(queues, 2)
    queues.retry(again, now=0.0, delay=0.5)
    assert len(queues) == 3
    assert queues.next(now=0.4)[0] is waiting[0]
    assert queues.next(now=0.5)[0] is again
    assert queues.next(now=0.5)[0] is waiting[1]
    assert len(queues) == 0


def test_a_retry_waits_for_the_pace_like_any_submit() -> None:
    queues = CustomerQueues(capacity=100)
    fill(queues, 1, pace=1)
    [again] = take_all(queues, now=0.0)
    queues.retry(again, now=0.0, delay=0.1)
    assert queues.next(now=0.5) == (None, pytest.approx(0.5))
    assert queues.next(now=1.0)[0] is again


def test_expired_messages_cost_no_pace() -> None:
    queues = CustomerQueues(capacity=100)
    for _ in range(50):
        queues.put(job(pace=1, expired=True), now=0.0)
    live = fill(queues, 1, pace=1)
    assert take_all(queues, now=0.0)[50:] == live


def test_a_full_queue_names_its_partition_until_it_is_half_empty() -> None:
    queues = CustomerQueues(capacity=10)
    fill(queues, 9, partition=3)
    fill(queues, 9, "B", partition=4)
    assert queues.full_partitions() == set()
    fill(queues, 1, partition=3)
    assert queues.full_partitions() == {in_lane(3)}
    open_at = None
    for served in range(1, 19):
        assert queues.next(now=served)[0] is not None
        if open_at is None and not queues.full_partitions():
            open_at = len([each for each in take_all(queues, now=1e9) if each.message.customer_id == "A"])
            break
    assert open_at == 5


def test_messages_between_two_tries_count_as_waiting() -> None:
    queues = CustomerQueues(capacity=10)
    for _ in range(9):
        queues.retry(job(partition=1), now=0.0, delay=60.0)
    fill(queues, 1, partition=1)
    assert len(queues) == 10
    assert queues.full_partitions() == {in_lane(1)}


def test_given_away_partitions_leave_nothing_behind() -> None:
    queues = CustomerQueues(capacity=4)
    fill(queues, 4, "A", partition=0)
    staying = fill(queues, 2, "B", partition=1)
    queues.retry(job("A", partition=0), now=0.0, delay=1.0)
    retried = job("C", partition=1)
    queues.retry(retried, now=0.0, delay=1.0)
    assert queues.full_partitions() == {in_lane(0)}
    queues.drop_partitions({in_lane(0)})
    assert len(queues) == 3
    assert queues.full_partitions() == set()
    assert take_all(queues, now=1.0) == [staying[0], retried, staying[1]]
    fresh = fill(queues, 1, "A", partition=2)
    assert take_all(queues, now=1.0) == fresh


def test_idle_customers_are_forgotten_only_when_that_changes_no_pace() -> None:
    queues = CustomerQueues(capacity=100)
    fill(queues, 10, pace=10)
    take_all(queues, now=0.0)
    queues.forget_idle(now=0.5)
    fill(queues, 10, pace=10)
    assert len(take_all(queues, now=0.5)) == 5
    queues.forget_idle(now=0.5)
    assert len(take_all(queues, now=1.0)) == 5


def test_otp_overtakes_normal_and_normal_overtakes_bulk() -> None:
    queues = CustomerQueues(capacity=100)
    bulk = fill(queues, 3, "A", priority="bulk")
    normal = fill(queues, 2, "B", priority="normal")
    mine = fill(queues, 1, "A", priority="normal")
    urgent = fill(queues, 2, "A", priority="otp")
    assert take_all(queues, now=0.0) == [urgent[0], urgent[1], normal[0], mine[0], normal[1], *bulk]


def test_an_otp_that_waits_for_its_pace_is_not_robbed_by_what_is_behind_it() -> None:
    queues = CustomerQueues(capacity=100)
    fill(queues, 1, pace=2, segments=2)
    take_all(queues, now=0.0)
    bulk = fill(queues, 4, pace=2, priority="bulk")
    long = fill(queues, 1, pace=2, segments=2, priority="otp")
    assert take_all(queues, now=0.5) == []
    assert take_all(queues, now=1.0) == long
    assert take_all(queues, now=2.0) == bulk[:2]


def test_an_otp_of_one_customer_goes_before_the_backlog_of_all() -> None:
    queues = CustomerQueues(capacity=1000)
    for customer in "ABC":
        fill(queues, 100, customer, pace=1000)
    [urgent] = fill(queues, 1, "C", pace=1000, priority="otp")
    assert queues.next(now=0.0)[0] is urgent
    assert len(take_all(queues, now=0.0)) == 300


def test_a_full_lane_leaves_the_others_open() -> None:
    queues = CustomerQueues(capacity=10)
    fill(queues, 10, partition=1, priority="bulk")
    fill(queues, 9, partition=2, priority="otp")
    assert queues.full_partitions() == {in_lane(1)}
    take_all(queues, now=0.0)
    assert len(queues) == 9
