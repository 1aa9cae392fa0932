"""Decides how many calls each lane may start, so that no endpoint or customer takes the places of another.

A lane is one customer's callbacks to its endpoint, or to one host in its messages' callback URLs. Each customer and the
process have a number of places for calls in flight. A call that takes long becomes slow: it gives its place back and
counts against a separate limit for slow calls. The duration of a lane's last call is remembered, so the next call of a
slow lane is slow from its start. A lane whose last call was not quick, or that has none yet, shares half of the places.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from smsgateway.config.delivery import Callback as CallbackSettings

_REMEMBERED: Final = 10_000


class Lane(NamedTuple):
    """A customer's endpoint (`host` is empty), or a host in its messages' callback URLs."""

    customer_id: UUID
    host: str


class Due(NamedTuple):
    """A lane with due callbacks. `is_probe`: it is paused, and one call may test whether it works again."""

    lane: Lane
    is_probe: bool = False


class Turn(NamedTuple):
    """How many callbacks of a lane to claim."""

    lane: Lane
    places: int
    is_probe: bool = False


class _Places:
    """The calls in flight that share one limit: a customer's, or the process's."""

    def __init__(self, limit: int, slow_limit: int) -> None:
        self._limit = limit
        self._slow_limit = slow_limit
        self.quick = self.other = self.slow = 0

    def has_room(self, *, is_quick: bool) -> bool:
        """True if one more call that is not slow may start."""
        overflow = max(0, self.slow - self._slow_limit)
        if is_quick:
            return self.quick + self.other + overflow < self._limit
        return self.other + overflow < (self._limit + 1) // 2 and self.quick + self.other + overflow < self._limit

    @property
    def has_room_for_slow(self) -> bool:
        return self.slow < self._slow_limit


class InFlight:
    """The calls in flight of one process."""

    def __init__(self, config: CallbackSettings) -> None:
        self._config = config
        self._calls: dict[Hashable, tuple[Lane, float]] = {}
        self._durations: dict[Lane, float] = {}
        self._last_turn = Lane(UUID(int=0), "")

    def begin(self, call: Hashable, lane: Lane, *, now: float | None = None) -> None:
        """Count a call of this lane that starts. `now`: of `time.monotonic`."""
        self._calls[call] = lane, time.monotonic() if now is None else now

    def end(self, call: Hashable, *, now: float | None = None) -> None:
        """Remove a call that has ended in any way."""
        lane, began = self._calls.pop(call)
        self._durations.pop(lane, None)
        if len(self._durations) >= _REMEMBERED:
            self._durations.pop(next(iter(self._durations)))
        self._durations[lane] = (time.monotonic() if now is None else now) - began

    def turns(self, due: Sequence[Due], *, now: float | None = None) -> list[Turn]:
        """How many calls each of these lanes may start.

        Lanes with the fewest calls in flight go first. Among equals, the turn passes to the lane after the last one.
        """
        moment = time.monotonic() if now is None else now
        config = self._config
        whole = _Places(config.concurrency, config.concurrency)
        customers: defaultdict[UUID, _Places] = defaultdict(
            lambda: _Places(config.per_customer, config.slow_per_customer)
        )
        count: Counter[Lane] = Counter()
        for lane, began in self._calls.values():
            count[lane] += 1
            self._take(lane, moment - began, whole, customers[lane.customer_id])
        per_lane = min(config.per_host, config.per_customer)
        waiting = [
            (count[one.lane], one.lane <= self._last_turn, one.lane, one)
            for one in due
            if count[one.lane] < (1 if one.is_probe else per_lane)
        ]
        heapq.heapify(waiting)
        given: Counter[Due] = Counter()
        while waiting:
            busy, is_behind, lane, one = heapq.heappop(waiting)
            if self._may_take(one.lane, whole, customers[one.lane.customer_id]):
                self._take(one.lane, 0.0, whole, customers[one.lane.customer_id])
                given[one] += 1
                self._last_turn = lane
                if busy + 1 < (1 if one.is_probe else per_lane):
                    heapq.heappush(waiting, (busy + 1, is_behind, lane, one))
        return [Turn(one.lane, given[one], one.is_probe) for one in due if given[one]]

    def __len__(self) -> int:
        return len(self._calls)

    def _may_take(self, lane: Lane, *limits: _Places) -> bool:
        if self._is_slow(lane) and all(places.has_room_for_slow for places in limits):
            return True
        is_quick = self._is_quick(lane)
        return all(places.has_room(is_quick=is_quick) for places in limits)

    def _take(self, lane: Lane, lasting: float, *limits: _Places) -> None:
        for places in limits:
            if lasting >= self._config.slow_after or self._is_slow(lane):
                places.slow += 1
            elif self._is_quick(lane):
                places.quick += 1
            else:
                places.other += 1

    def _is_slow(self, lane: Lane) -> bool:
        return self._durations.get(lane, 0.0) >= self._config.slow_after

    def _is_quick(self, lane: Lane) -> bool:
        return lane in self._durations and not self._is_slow(lane)
