"""How far consumer groups are behind, by the offsets that they have committed. No group is joined."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported all the same

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.kafka import groups
from smsgateway.kafka.client import Partition

_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # has no types
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # has no types


class Progress(NamedTuple):
    """A group's progress in one partition. `committed`: the first offset it has not done; `end`: the offset after the
    newest event."""

    committed: int
    end: int

    @property
    def lag(self) -> int:
        """How many events the group has not done."""
        return max(self.end - self.committed, 0)


class LagClient:
    """Reads the progress of consumer groups. It connects at the first question, and stays connected."""

    def __init__(self, config: Kafka, *, client_id: str) -> None:
        self._config = config
        self._client = AdminClient(kafka.client_options(config) | {"client.id": client_id, "log_level": 0})

    def progress(
        self, topics_by_process: Mapping[str, Collection[str]], *, timeout: float
    ) -> dict[str, dict[Partition, Progress]]:
        """The progress of each process's group, in the partitions of its topics that exist.

        A group that has committed nothing starts at the oldest event; what retention deleted does not count. `timeout`:
        seconds for each of three requests. Raises KafkaException.
        """
        known = self._client.list_topics(timeout=timeout).topics
        places = {
            process: [(topic, number) for topic in topics if topic in known for number in known[topic].partitions]
            for process, topics in topics_by_process.items()
        }
        every = [TopicPartition(*place) for place in {place for own in places.values() for place in own}]
        if not every:
            return {process: {} for process in topics_by_process}
        # All requests are under way before the first answer is awaited.
        requested = [
            self._client.list_offsets(dict.fromkeys(every, bound), request_timeout=timeout)
            for bound in (_EARLIEST, _LATEST)
        ]
        groups_requested = {
            process: self._client.list_consumer_group_offsets(
                [
                    ConsumerGroupTopicPartitions(
                        groups.group_id(self._config, process), [TopicPartition(*place) for place in own]
                    )
                ],
                request_timeout=timeout,
            )
            for process, own in places.items()
            if own
        }
        starts, ends = (
            {(place.topic, place.partition): future.result().offset for place, future in answers.items()}
            for answers in requested
        )
        found: dict[str, dict[Partition, Progress]] = {process: {} for process in topics_by_process}
        for process, answers in groups_requested.items():
            (future,) = answers.values()
            for place in future.result().topic_partitions or ():
                where = place.topic, place.partition
                found[process][where] = Progress(max(place.offset, starts[where]), ends[where])
        return found


def lag(config: Kafka, *, process: str, topics: Iterable[str], timeout: float = 10.0) -> dict[Partition, int]:
    """How many events of each partition the group of `process` has not committed. Topics that do not exist have none.

    Raises KafkaUnavailable.
    """
    try:
        client = LagClient(config, client_id="smsgateway-lag")
        found = client.progress({process: tuple(topics)}, timeout=timeout)[process]
    except KafkaException as error:
        raise kafka.KafkaUnavailable(str(error)) from error
    return {place: progress.lag for place, progress in found.items()}
