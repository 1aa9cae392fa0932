"""A commit that a rebalance refuses is made again, as long as the partition is still the consumer's."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from smsgateway.kafka import client as kafka
from smsgateway.kafka.batches import consume_batches
from smsgateway.process import Process


class Broker:
    """What a consumer hears of its broker: two events, then none; the first commit comes in a rebalance."""

    def __init__(self, process: Process, *, kept: bool) -> None:
        self._process = process
        self._kept = kept
        self._rounds = 0
        self.committed: list[list[tuple[int, int]]] = []

    def subscribe(self, topics: list[str], **_callbacks: Any) -> None:
        """Nothing to do."""

    def consume(self, _count: int, _wait: float) -> list[Any]:
        self._rounds += 1
        if self._rounds == 1:
            return [_message(partition=0, offset=7), _message(partition=1, offset=3)]
        if self._rounds == 4:
            self._process.stop()
        return []

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("t", partition) for partition in ((0, 1) if self._kept else (0,))]

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert not asynchronous
        self.committed.append(sorted((place.partition, place.offset) for place in offsets))
        if len(self.committed) == 1:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))

    def close(self) -> None:
        """Nothing to do."""


def _message(*, partition: int, offset: int) -> Any:
    received = MagicMock()
    received.error.return_value = None
    received.topic.return_value, received.partition.return_value, received.offset.return_value = "t", partition, offset
    return received


@pytest.mark.parametrize(("kept", "again"), [(True, [(0, 8), (1, 4)]), (False, [(0, 8)])])
def test_a_refused_commit_is_repeated_while_the_partition_is_ours(kept: bool, again: list[tuple[int, int]]) -> None:
    process = Process("test")
    broker = Broker(process, kept=kept)
    written: list[int] = []
    consume_batches(
        process,
        consumer=broker,  # type: ignore[arg-type]
        topics=["t"],
        write=lambda messages: written.extend(kafka.offset_of(message) for message in messages) or [],
        away=(OSError,),
        dead_letters=MagicMock(),
        dead_letter_topic="dlq",
        batch=10,
        wait_seconds=0,
    )
    assert written == [7, 3]
    assert broker.committed == [[(0, 8), (1, 4)], again]
