"""Reads ranges of offsets of Kafka's partitions, outside any consumer group, and commits nothing."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.kafka.client import Partition

_ANSWER_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 15.0
_WAIT_SECONDS: Final = 0.05


class Range(NamedTuple):
    """Offsets from `start` up to, but not including, `end`."""

    start: int
    end: int


class RangeReader:
    """Reads ranges. A context manager. Methods raise KafkaUnavailable if Kafka does not answer in time."""

    def __init__(self, config: Kafka, *, client_id: str) -> None:
        # No offset is committed, and no group is joined: partitions are assigned by hand.
        options = {"client.id": client_id, "enable.partition.eof": True, "allow.auto.create.topics": False}
        self._consumer: Consumer = kafka.consumer(config, process="ranges", **options)

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(self, *_error: object) -> None:
        self._consumer.close()

    def whole(self, topics: Collection[str]) -> dict[Partition, Range]:
        """What each partition of these topics holds now. Topics that do not exist have none."""
        try:
            known = self._consumer.list_topics(timeout=_ANSWER_SECONDS).topics
        except KafkaException as error:
            raise kafka.KafkaUnavailable(error.args[0].str()) from error
        places = [(topic, number) for topic in topics if topic in known for number in known[topic].partitions]
        starts, ends = (self._offsets(dict.fromkeys(places, bound)) for bound in (OFFSET_BEGINNING, OFFSET_END))
        return {place: Range(starts[place], ends[place]) for place in places}

    def since(self, places: Collection[Partition], milliseconds: int) -> dict[Partition, int]:
        """The first offset of each partition whose event is not older than this (milliseconds since 1970); its end if
        there is none. Before it other events may be as young: clocks of producers differ.
        """
        found = self._offsets(dict.fromkeys(places, milliseconds))
        unknown = [place for place, offset in found.items() if offset < 0]
        if unknown:
            held = self.whole({topic for topic, _ in unknown})
            found |= {place: held[place].end for place in unknown}
            # Some brokers, such as the embedded one, know no times: then the last event says whether all are older.
            last = {place: Range(max(held[place].end - 1, held[place].start), held[place].end) for place in unknown}
            for batch in self.read(last):
                for message in batch:
                    if message.timestamp()[1] >= milliseconds:
                        place = (str(message.topic()), kafka.partition_of(message))
                        found[place] = held[place].start
        return found

    def read(self, ranges: Mapping[Partition, Range], *, batch: int = 1000) -> Iterator[list[Message]]:
        """The messages of these ranges in batches; those of one partition in their order."""
        left = {place: found.end for place, found in ranges.items() if found.start < found.end}
        places = [TopicPartition(*place, ranges[place].start) for place in left]
        self._consumer.assign(places)
        self._consumer.resume(places)  # the client keeps the pause of an earlier read
        heard_at = time.monotonic()
        try:
            while left:
                found: list[Message] = []
                for message in self._consumer.consume(batch, _WAIT_SECONDS):
                    if (error := message.error()) is not None:
                        if error.code() == KafkaError._PARTITION_EOF:
                            left.pop((str(message.topic()), kafka.partition_of(message)), None)
                        continue
                    place = (str(message.topic()), kafka.partition_of(message))
                    if place in left:
                        offset = kafka.offset_of(message)
                        if offset < left[place]:
                            found.append(message)
                        if offset >= left[place] - 1:
                            del left[place]
                            self._consumer.pause([TopicPartition(*place)])
                if found:
                    heard_at = time.monotonic()
                    yield found
                    heard_at = time.monotonic()  # what the caller does takes its own time
                elif time.monotonic() - heard_at > _SILENCE_SECONDS:
                    raise kafka.KafkaUnavailable(f"no event of {len(left)} partitions came in {_SILENCE_SECONDS:g} s")
        except KafkaException as error:
            raise kafka.KafkaUnavailable(error.args[0].str()) from error
        finally:
            self._consumer.unassign()

    def _offsets(self, asked: Mapping[Partition, int]) -> dict[Partition, int]:
        if not asked:
            return {}
        places = [TopicPartition(*place, bound) for place, bound in asked.items()]
        try:
            found = self._consumer.offsets_for_times(places, _ANSWER_SECONDS)
        except KafkaException as error:
            raise kafka.KafkaUnavailable(error.args[0].str()) from error
        for place in found:
            if place.error is not None:
                raise kafka.KafkaUnavailable(f"{place.topic} {place.partition}: {place.error.str()}")
        return {(place.topic, place.partition): place.offset for place in found}
