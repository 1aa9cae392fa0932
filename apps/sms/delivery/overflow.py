"""Messages that their customer's queue has no room for.

They go to the end of the overflow topic, so that their partition is read on: whoever stands behind a customer with a
million messages does not wait for it. The overflow topic's partitions pause until there is room; customers that
overflow in the same partition wait for each other there, and nobody else does.
"""

from __future__ import annotations

from collections import Counter
from typing import cast

from confluent_kafka import Message

from apps.sms.delivery.jobs import Job
from smsgateway import kafka
from smsgateway.config.groups import Kafka


class Overflowing:
    """Who has messages on the overflow topic: later ones must not overtake them.

    Known from what this process put there. After a restart those of a customer that is just being read may be
    overtaken; nothing is lost by that.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, str, int]] = Counter()

    def entered(self, job: Job) -> None:
        self._counts[_queue(job)] += 1

    def left(self, job: Job) -> None:
        queue = _queue(job)
        if self._counts[queue] > 1:
            self._counts[queue] -= 1
        else:
            del self._counts[queue]

    def holds(self, job: Job) -> bool:
        """Messages of its customer and priority are there."""
        return _queue(job) in self._counts

    def given_up(self, partitions: set[int]) -> None:
        """These partitions, by number, are another worker's now."""
        for queue in [queue for queue in self._counts if queue[0] in partitions]:
            del self._counts[queue]


def overflow_record(message: Message, *, config: Kafka) -> kafka.Record:
    """The message as it is, for the partition that the same worker reads."""
    headers = cast(list[tuple[str, str | bytes | None]], message.headers() or [])
    value, key = message.value() or b"", message.key() or b""
    return kafka.Record(config.topic_overflow, key, value, headers, kafka.partition_of(message))


def _queue(job: Job) -> tuple[int, str, int]:
    return job.place.partition.number, job.message.customer_id, job.rank
