"""How many calls each lane may have in flight: no endpoint takes the places of another, nor a customer another's.

A lane is one customer's callbacks to its endpoint, or to one host that its messages name. A call that lasts is slow:
from then on it makes room for others and counts among the slow ones, which have a limit of their own. What a lane's
last call took is remembered, so the next call of a slow lane counts as slow from its start. Lanes that were not quick
the last time, or are not known, get half of the usual places at most.
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
    """A customer's endpoint (`host` is empty), or a host that the customer's messages name."""

    customer_id: UUID
    host: str


class Due(NamedTuple):
    """A lane that has callbacks which are due. `is_probe`: it was paused, and one call may try whether it is well."""

    lane: Lane
    is_probe: bool = False


class Turn(NamedTuple):
    """How many callbacks of a lane are to be claimed."""

    lane: Lane
    places: int
    is_probe: bool = False


class _Places:
    """What is in flight under one limit: a customer's, or the process's."""

    def __init__(self, limit: int, slow_limit: int) -> None:
        self._limit = limit
        self._slow_limit = slow_limit
        self.quick = self.other = self.slow = 0

    def has_room(self, *, is_quick: bool) -> bool:
        """Whether one more call may begin that counts among the usual ones."""
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
        self._lasted: dict[Lane, float] = {}
        self._last_turn = Lane(UUID(int=0), "")

    def begin(self, call: Hashable, lane: Lane, *, now: float | None = None) -> None:
        """A call of this lane begins. `now`: of `time.monotonic`."""
        self._calls[call] = lane, time.monotonic() if now is None else now

    def end(self, call: Hashable, *, now: float | None = None) -> None:
        """It has ended, in any way."""
        lane, began = self._calls.pop(call)
        self._lasted.pop(lane, None)
        if len(self._lasted) >= _REMEMBERED:
            self._lasted.pop(next(iter(self._lasted)))
        self._lasted[lane] = (time.monotonic() if now is None else now) - began

    def turns(self, due: Sequence[Due], *, now: float | None = None) -> list[Turn]:
        """How many each of these lanes may begin.

        The lanes with the fewest in flight go first; among those it goes on behind the lane that had the last turn.
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
        return self._lasted.get(lane, 0.0) >= self._config.slow_after

    def _is_quick(self, lane: Lane) -> bool:
        return lane in self._lasted and not self._is_slow(lane)
