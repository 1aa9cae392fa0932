"""Messages read from the retry topics before they are due."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Collection
from typing import Final

from apps.sms.delivery.jobs import Job, Partition

# At most this many messages of a partition are held in memory; then it is paused.
HELD: Final = 1000


class Delayed:
    """Holds messages until they are due. Times are seconds since 1970: they were set by another process."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Job]] = []
        self._held: Counter[Partition] = Counter()
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, job: Job) -> None:
        heapq.heappush(self._heap, (job.message.not_before, next(self._sequence), job))
        self._held[job.place.partition] += 1

    def due(self) -> list[Job]:
        """Remove and return the messages that are due."""
        now = time.time() * 1000
        jobs = []
        while self._heap and self._heap[0][0] <= now:
            job = heapq.heappop(self._heap)[2]
            self._held[job.place.partition] -= 1
            jobs.append(job)
        return jobs

    def take(self, customers: Collection[str]) -> list[Job]:
        """Remove and return the messages of these customers."""
        taken = [entry[2] for entry in self._heap if entry[2].message.customer_id in customers]
        if taken:
            self._heap = [entry for entry in self._heap if entry[2].message.customer_id not in customers]
            heapq.heapify(self._heap)
        for job in taken:
            self._held[job.place.partition] -= 1
        return taken

    def wait(self) -> float:
        """Seconds until the next is due; infinity if none is held."""
        return max(0.0, self._heap[0][0] / 1000 - time.time()) if self._heap else float("inf")

    def full_partitions(self) -> set[Partition]:
        """Partitions that have as many messages here as may be held."""
        return {partition for partition, count in self._held.items() if count >= HELD}

    def drop_partitions(self, partitions: set[Partition]) -> None:
        """Forget the messages of these partitions: another worker owns them now."""
        self._heap = [entry for entry in self._heap if entry[2].place.partition not in partitions]
        heapq.heapify(self._heap)
        for partition in partitions:
            del self._held[partition]
