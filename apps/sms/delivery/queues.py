"""The queues of one operator's connection: three per customer, by priority; customers in turn, each at its pace."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from typing import Final

from apps.sms.delivery.jobs import RANKS, Job, Partition
from apps.sms.delivery.pacing import Paces

# Segments per turn of a customer: all get the same number of segments, however long their messages are.
_QUANTUM: Final = 1


class _Customer:
    """One customer's queues by rank.

    `turn`: the number of its one valid entry in a ring, 0 if it has no entry. Entries with other numbers are out of
    date. `rank`: the ring that holds the entry. `deficit`: segments that its turns have brought and that it has not
    used yet.
    """

    __slots__ = ("deficit", "id", "is_waiting", "jobs", "rank", "turn")

    def __init__(self, customer_id: str) -> None:
        self.id = customer_id
        self.jobs: tuple[deque[Job], ...] = tuple(deque() for _ in RANKS)
        self.turn = 0
        self.rank = 0
        self.deficit = 0
        self.is_waiting = False

    def first(self) -> int | None:
        """The rank of its most urgent message; None without messages."""
        for rank, jobs in enumerate(self.jobs):
            if jobs:
                return rank
        return None


class CustomerQueues:
    """Queues by customer and priority. Times are seconds of one monotonic clock.

    `next` serves the most urgent priority first; within it the customers that have tokens, in turn, by deficit round
    robin in segments, so a customer with a million messages delays nobody. The more urgent of a customer's messages
    always go first: those behind do not spend its tokens.
    """

    def __init__(self, paces: Paces, *, capacity: int) -> None:
        self._paces = paces
        self._capacity = capacity
        self._customers: dict[str, _Customer] = {}
        self._rings: tuple[deque[tuple[int, _Customer]], ...] = tuple(deque() for _ in RANKS)
        self._waiting: list[tuple[float, int, _Customer]] = []
        self._sequence = itertools.count(1)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def has(self, customer_id: str, rank: int) -> bool:
        """True if messages of this customer and rank wait."""
        customer = self._customers.get(customer_id)
        return customer is not None and bool(customer.jobs[rank])

    def is_full(self, customer_id: str, rank: int) -> bool:
        """True if no more messages of this customer and rank may wait."""
        customer = self._customers.get(customer_id)
        return customer is not None and len(customer.jobs[rank]) >= self._capacity

    def is_half_empty(self, customer_id: str, rank: int) -> bool:
        """True if this customer and rank have room for many messages again."""
        customer = self._customers.get(customer_id)
        return customer is None or len(customer.jobs[rank]) <= self._capacity // 2

    def put(self, job: Job) -> None:
        """Queue a message behind its customer's others of its priority."""
        self._customer(job).jobs[job.rank].append(job)
        self._added(job)

    def put_back(self, job: Job) -> None:
        """Queue a message before its customer's others of its priority: it has waited before."""
        self._customer(job).jobs[job.rank].appendleft(job)
        self._added(job)

    def next(self, *, now: float) -> tuple[Job | None, float]:
        """The next message to submit, or None and the seconds until there may be one (infinity: not before `put`)."""
        while self._waiting and self._waiting[0][0] <= now:
            customer = heapq.heappop(self._waiting)[2]
            customer.is_waiting = False
            self._turn(customer)
        for ring in self._rings:
            while ring:
                turn, customer = ring[0]
                if customer.turn != turn:
                    ring.popleft()
                elif (served := self._serve(ring, customer, now)) is not None:
                    return served, 0.0
        return None, self._waiting[0][0] - now if self._waiting else float("inf")

    def take_all(self) -> list[Job]:
        """Remove and return every waiting message, the most urgent first."""
        customers = list(self._customers.values())
        jobs = [job for rank in RANKS.values() for customer in customers for job in customer.jobs[rank]]
        self._customers.clear()
        self._waiting.clear()
        for ring in self._rings:
            ring.clear()
        self._size = 0
        return jobs

    def take(self, customers: Iterable[str]) -> list[Job]:
        """Remove and return the waiting messages of these customers, the most urgent of each first."""
        taken: list[Job] = []
        for customer_id in customers:
            if (customer := self._customers.get(customer_id)) is not None:
                for jobs in customer.jobs:
                    taken.extend(jobs)
                    jobs.clear()
        self._size -= len(taken)
        return taken

    def drop_partitions(self, partitions: set[Partition]) -> None:
        """Forget the waiting messages of these partitions: another worker owns them now."""
        for customer in self._customers.values():
            for jobs in customer.jobs:
                kept = [job for job in jobs if job.place.partition not in partitions]
                self._size += len(kept) - len(jobs)
                jobs.clear()
                jobs.extend(kept)

    def forget_idle(self) -> None:
        """Forget the customers without messages."""
        for customer_id, customer in list(self._customers.items()):
            if customer.first() is None and not customer.turn and not customer.is_waiting:
                del self._customers[customer_id]

    def _customer(self, job: Job) -> _Customer:
        customer = self._customers.get(job.message.customer_id)
        if customer is None:
            customer = self._customers[job.message.customer_id] = _Customer(job.message.customer_id)
        return customer

    def _added(self, job: Job) -> None:
        """Count a new message, and give its customer a turn, or an earlier one."""
        self._size += 1
        customer = self._customer(job)
        if not customer.is_waiting and (not customer.turn or job.rank < customer.rank):
            self._turn(customer)

    def _serve(self, ring: deque[tuple[int, _Customer]], customer: _Customer, now: float) -> Job | None:
        """The most urgent message of the customer at the head of the ring, if its turn and its tokens suffice.

        Then puts the customer where it belongs: at the end of a ring, among those that wait for tokens, or nowhere.
        """
        rank = customer.first()
        if rank is None:
            ring.popleft()
            customer.turn = customer.deficit = 0
            return None
        job = customer.jobs[rank][0]
        # Expired messages are not submitted and cost no tokens: an expired backlog must not delay the messages behind
        # it.
        cost = 0 if job.is_expired else job.message.segments
        if cost > customer.deficit:
            customer.deficit += _QUANTUM
            if cost > customer.deficit:
                ring.popleft()
                self._turn(customer)
                return None
        bucket = self._paces.bucket(
            customer.id, partition=job.place.partition.number, rate=job.message.segments_per_second, now=now
        )
        wait = bucket.take(cost, now=now)
        if wait:
            ring.popleft()
            customer.turn = 0
            customer.is_waiting = True
            heapq.heappush(self._waiting, (now + wait, next(self._sequence), customer))
            return None
        customer.jobs[rank].popleft()
        self._size -= 1
        customer.deficit -= cost
        ring.popleft()
        self._turn(customer)
        return job

    def _turn(self, customer: _Customer) -> None:
        """Put the customer at the end of its most urgent message's ring. Its former entry is out of date then."""
        rank = customer.first()
        if rank is None:
            customer.turn = customer.deficit = 0
            return
        customer.turn, customer.rank = next(self._sequence), rank
        self._rings[rank].append((customer.turn, customer))
