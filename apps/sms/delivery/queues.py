"""The queues of a delivery worker: three for each customer, by priority; customers in turn, each at its own pace."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from typing import Final, NamedTuple

from apps.sms.delivery.pacing import TokenBucket
from apps.sms.events import DeliveryRequested


class Partition(NamedTuple):
    """A partition of one of the delivery lanes' topics."""

    topic: str
    number: int


class Place(NamedTuple):
    """Where a message stands on Kafka."""

    partition: Partition
    offset: int


class Job:
    """A message on its way to an operator.

    `attempts`: submits made so far; `delays`: how often it was queued again, throttled submits included.
    """

    __slots__ = ("attempts", "delays", "message", "place")

    def __init__(self, message: DeliveryRequested, place: Place) -> None:
        self.message = message
        self.place = place
        self.attempts = 0
        self.delays = 0

    @property
    def is_expired(self) -> bool:
        return time.time() * 1000 >= self.message.expires_at


_RANKS: Final = {"otp": 0, "normal": 1, "bulk": 2}
_NORMAL: Final = _RANKS["normal"]


def _rank(job: Job) -> int:
    """0 is the most urgent."""
    return _RANKS.get(job.message.priority, _NORMAL)


class _Customer:
    """One customer's queues by rank, and the bucket that they share.

    `turn` is the number of its one valid entry in a ring or among those that wait for their bucket, 0 if it has none;
    `rank` the ring it stands in. An entry that bears another number is out of date.
    """

    __slots__ = ("bucket", "is_waiting", "jobs", "rank", "sizes", "turn")

    def __init__(self, bucket: TokenBucket) -> None:
        self.jobs: tuple[deque[Job], ...] = tuple(deque() for _ in _RANKS)
        self.sizes = [0] * len(_RANKS)  # messages waiting, those between two tries included
        self.bucket = bucket
        self.turn = 0
        self.rank = 0
        self.is_waiting = False

    def first(self) -> int | None:
        """The rank of its most urgent message."""
        return next((rank for rank, jobs in enumerate(self.jobs) if jobs), None)


class CustomerQueues:
    """Queues by customer and priority. Times are seconds of one monotonic clock.

    `next` serves the most urgent priority first; within it the customers that have tokens, one message each in turn, so
    a customer with a million messages delays nobody. Of one customer a more urgent message always goes first: what is
    behind it does not spend its tokens. A queue longer than `capacity` makes its partitions `full`; who reads Kafka
    must pause them.
    """

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._customers: dict[str, _Customer] = {}
        self._rings: tuple[deque[tuple[int, _Customer]], ...] = tuple(deque() for _ in _RANKS)
        self._waiting: list[tuple[float, int, _Customer]] = []
        self._retries: list[tuple[float, int, Job]] = []
        self._sequence = itertools.count(1)
        self._full: dict[tuple[str, int], set[Partition]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, job: Job, *, now: float) -> None:
        """Queue a message behind its customer's others of its priority."""
        customer, rank = self._customer(job, now), _rank(job)
        self._resize(customer, rank, 1)
        customer.jobs[rank].append(job)
        self._list(customer, rank)
        if customer.sizes[rank] >= self._capacity:
            self._full.setdefault((job.message.customer_id, rank), set()).add(job.place.partition)

    def retry(self, job: Job, *, now: float, delay: float) -> None:
        """Queue a message again, before its customer's others of its priority, when `delay` seconds have passed."""
        self._resize(self._customer(job, now), _rank(job), 1)
        heapq.heappush(self._retries, (now + delay, next(self._sequence), job))

    def next(self, *, now: float) -> tuple[Job | None, float]:
        """The next message to submit, or None and the seconds until there may be one (infinity: not before `put`)."""
        while self._retries and self._retries[0][0] <= now:
            job = heapq.heappop(self._retries)[2]
            customer, rank = self._customer(job, now), _rank(job)
            customer.jobs[rank].appendleft(job)
            self._list(customer, rank)
        while self._waiting and self._waiting[0][0] <= now:
            customer = heapq.heappop(self._waiting)[2]
            customer.is_waiting = False
            self._turn(customer)
        for ring in self._rings:
            while ring:
                turn, customer = ring.popleft()
                if customer.turn == turn and (served := self._serve(customer, now)) is not None:
                    return served, 0.0
        due = [heap[0][0] for heap in (self._waiting, self._retries) if heap]
        return None, min(due) - now if due else float("inf")

    def full_partitions(self) -> set[Partition]:
        """Partitions whose customers have too much waiting already."""
        return set().union(*self._full.values())

    def drop_partitions(self, partitions: set[Partition]) -> None:
        """Forget the waiting messages of these partitions: another worker has them now."""
        for customer in self._customers.values():
            for rank, jobs in enumerate(customer.jobs):
                kept = [job for job in jobs if job.place.partition not in partitions]
                self._resize(customer, rank, len(kept) - len(jobs))
                jobs.clear()
                jobs.extend(kept)
        staying = []
        for due in self._retries:
            if due[2].place.partition in partitions:
                self._resize(self._customers[due[2].message.customer_id], _rank(due[2]), -1)
            else:
                staying.append(due)
        heapq.heapify(staying)
        self._retries = staying
        for customer_id, rank in list(self._full):
            self._full[customer_id, rank] -= partitions
            self._reopen(customer_id, rank)

    def forget_idle(self, *, now: float) -> None:
        """Drop the customers that have nothing waiting and a full bucket: a new one would be the same."""
        for customer_id, customer in list(self._customers.items()):
            idle = not any(customer.sizes) and not customer.turn and not customer.is_waiting
            if idle and customer.bucket.is_full(now=now):
                del self._customers[customer_id]

    def _customer(self, job: Job, now: float) -> _Customer:
        customer = self._customers.get(job.message.customer_id)
        if customer is None:
            customer = _Customer(TokenBucket(rate=job.message.segments_per_second, now=now))
            self._customers[job.message.customer_id] = customer
        customer.bucket.rate = job.message.segments_per_second
        return customer

    def _serve(self, customer: _Customer, now: float) -> Job | None:
        """The customer's most urgent message, if it has the tokens. It stands where it belongs afterwards."""
        rank = customer.first()
        if rank is None:
            customer.turn = 0
            return None
        head = customer.jobs[rank][0]
        # What has expired is not submitted and costs no pace: a dead backlog must not age the messages behind it.
        wait = customer.bucket.take(0 if head.is_expired else head.message.segments, now=now)
        if wait:
            customer.turn = 0
            customer.is_waiting = True
            heapq.heappush(self._waiting, (now + wait, next(self._sequence), customer))
            return None
        job = customer.jobs[rank].popleft()
        self._resize(customer, rank, -1)
        self._reopen(job.message.customer_id, rank)
        self._turn(customer)
        return job

    def _resize(self, customer: _Customer, rank: int, change: int) -> None:
        customer.sizes[rank] += change
        self._size += change

    def _list(self, customer: _Customer, rank: int) -> None:
        """It has a new message of this rank: give it a turn, or an earlier one."""
        if not customer.is_waiting and (not customer.turn or rank < customer.rank):
            self._turn(customer)

    def _turn(self, customer: _Customer) -> None:
        """To the end of the ring of its most urgent message; an entry that it had is out of date."""
        rank = customer.first()
        if rank is None:
            customer.turn = 0
            return
        customer.turn, customer.rank = next(self._sequence), rank
        self._rings[rank].append((customer.turn, customer))

    def _reopen(self, customer_id: str, rank: int) -> None:
        """Below half its capacity a queue may be filled again; not at once, so that partitions do not flutter."""
        if (customer_id, rank) in self._full and self._customers[customer_id].sizes[rank] <= self._capacity // 2:
            del self._full[customer_id, rank]
