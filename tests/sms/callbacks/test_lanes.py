"""How many calls each lane may start, independent of the other lanes."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from apps.sms.callbacks.lanes import Due, InFlight, Lane
from tests.support.callbacks import config_with

ONE, TWO = UUID(int=1), UUID(int=2)


def limits(**changes: Any) -> InFlight:
    usual = {"concurrency": 200, "per_customer": 10, "per_host": 10, "slow_after": 1.0, "slow_per_customer": 50}
    return InFlight(config_with(**usual | changes))


def hosts(customer_id: UUID, count: int) -> list[Due]:
    return [Due(Lane(customer_id, f"https://{number:03}.example")) for number in range(count)]


def begin(calls: InFlight, due: list[Due], *, now: float) -> Counter[Lane]:
    """Begin all that may begin; how many of each lane."""
    begun: Counter[Lane] = Counter()
    for turn in calls.turns(due, now=now):
        for _ in range(turn.places):
            calls.begin(object(), turn.lane, now=now)
            begun[turn.lane] += 1
    return begun


def was_quick(calls: InFlight, lane: Lane, *, lasted: float = 0.1) -> None:
    calls.begin(lane, lane, now=0.0)
    calls.end(lane, now=lasted)


def test_lanes_have_one_call_each_before_any_has_two() -> None:
    calls = limits()
    begun = begin(calls, hosts(ONE, 4), now=0.0)
    assert sorted(begun.values()) == [1, 1, 1, 2]  # half of the ten places, for nobody knows how quick they are


def test_a_quick_lane_has_all_places_and_an_unknown_one_half() -> None:
    calls = limits()
    known, unknown = hosts(ONE, 2)
    was_quick(calls, known.lane)
    assert begin(calls, [known], now=1.0) == {known.lane: 10}
    assert begin(limits(), [unknown], now=1.0) == {unknown.lane: 5}
    assert limits(per_customer=1).turns([unknown], now=1.0)[0].places == 1


def test_calls_that_last_make_room_for_others() -> None:
    calls = limits()
    slow = hosts(ONE, 40)
    seen: Counter[Lane] = Counter()
    for second in range(8):
        seen += begin(calls, slow, now=2.0 * second)
    assert len(seen) == 40
    assert set(seen.values()) == {1}
    quick = Due(Lane(ONE, ""))
    assert begin(calls, [*slow, quick], now=16.0)[quick.lane] >= 1


def test_the_next_call_of_a_slow_lane_takes_no_place_of_others() -> None:
    calls = limits(slow_per_customer=3)
    slow, quick = hosts(ONE, 2)
    was_quick(calls, slow.lane, lasted=5.0)
    was_quick(calls, quick.lane)
    assert begin(calls, [slow], now=10.0)[slow.lane] == 3 + 5
    assert begin(calls, [slow, quick], now=10.0) == {quick.lane: 5}


def test_slow_calls_beyond_their_limit_take_places_and_leave_half_to_quick_lanes() -> None:
    calls = limits(slow_per_customer=2)
    many = hosts(ONE, 30)
    for second in range(20):
        begin(calls, many, now=2.0 * second)
    assert len(calls) == 2 + 5
    quick = Due(Lane(ONE, ""))
    was_quick(calls, quick.lane)
    assert begin(calls, [*many, quick], now=100.0) == {quick.lane: 5}


@pytest.mark.parametrize(("per_host", "per_customer"), [(4, 10), (10, 4)])
def test_a_lane_has_its_own_limit_slow_or_not(per_host: int, per_customer: int) -> None:
    calls = limits(per_host=per_host, per_customer=per_customer)
    [one] = hosts(ONE, 1)
    for second in range(10):
        begin(calls, [one], now=2.0 * second)
    assert len(calls) == 4


def test_customers_do_not_take_each_others_places() -> None:
    calls = limits(concurrency=20)
    for number in range(3, 50):
        begin(calls, hosts(UUID(int=number), 10), now=0.0)
    assert len(calls) == 10  # half of all, for nobody knows how quick they are
    quick = Due(Lane(ONE, ""))
    was_quick(calls, quick.lane)
    assert begin(calls, [quick], now=0.5) == {quick.lane: 10}
    other = Due(Lane(TWO, ""))
    assert begin(calls, [other], now=2.0)[other.lane] == 5  # all these have become slow


def test_when_places_are_few_every_lane_has_its_turn() -> None:
    calls = limits(concurrency=1)
    due = [Due(Lane(UUID(int=number), "")) for number in range(1, 6)]
    turns = []
    for _ in range(10):
        [turn] = calls.turns(due, now=0.0)
        turns.append(turn.lane)
    assert turns == [one.lane for one in due] * 2


def test_a_paused_lane_has_one_call_at_most() -> None:
    calls = limits()
    probe = Due(Lane(ONE, ""), is_probe=True)
    assert [(turn.places, turn.is_probe) for turn in calls.turns([probe], now=0.0)] == [(1, True)]
    calls.begin("probe", probe.lane, now=0.0)
    assert calls.turns([probe], now=0.0) == []
