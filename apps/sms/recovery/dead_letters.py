"""Dead letters: events that no process could handle, kept with the reason until somebody replays them.

A replay publishes the event to the topic that it came from, and a mark to the dead letters, so that nobody replays it
twice by accident. If the cause is not fixed, the event comes back as another letter (`came_back`). The topic's
retention limits how long letters are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka

_MARK: Final = "replayed_letter"
_FROM: Final = "replayed_from"
_PLACES: Final = frozenset({"reason", "source_topic", "source_partition", "source_offset", _MARK, _FROM})
_SECONDS: Final = 10.0
_PATIENCE: Final = 0.1  # a batch is returned after this many seconds, even if it is small

Headers = list[tuple[str, str | bytes | None]]


class NotReplayable(Exception):
    """The letter does not name the topic that it came from"""


class Letter(NamedTuple):
    """One dead letter. `place` is its name, PARTITION:OFFSET on the dead-letter topic; `at` milliseconds since 1970."""

    place: str
    at: int
    reason: str
    source: str
    headers: Headers
    key: bytes
    value: bytes
    is_replayed: bool

    @property
    def came_back(self) -> bool:
        """Whether this event was replayed before, from another letter, and failed again."""
        return bool(_text(self.headers, _FROM))

    @property
    def source_topic(self) -> str:
        return _text(self.headers, "source_topic")


def letters_list(config: Kafka) -> list[Letter]:
    """Every letter in the topic, the oldest first. Raises kafka.KafkaUnavailable."""
    return _letters(config, count=None, seconds=_SECONDS)


def letters_newest(config: Kafka, *, count: int, seconds: float) -> list[Letter]:
    """The letters among the newest `count` records of each partition, the oldest first.

    Raises kafka.KafkaUnavailable after about `seconds`.
    """
    return _letters(config, count=count, seconds=seconds)


def _letters(config: Kafka, *, count: int | None, seconds: float) -> list[Letter]:
    consumer = kafka.consumer(config, process="dlq", **{"enable.partition.eof": True})
    try:
        messages = _read(consumer, config.topic_dead_letter, count=count, seconds=seconds)
    except KafkaException as error:
        raise kafka.KafkaUnavailable(error.args[0].str()) from error
    finally:
        consumer.close()
    marks = {mark for message in messages if (mark := _text(_headers(message), _MARK))}
    letters = [_letter(message, marks) for message in messages if not _text(_headers(message), _MARK)]
    return sorted(letters, key=lambda letter: letter.at)


def letters_replay(letters: Iterable[Letter], *, producer: Producer, config: Kafka) -> int:
    """Publish these events again to the topics that they came from; return how many.

    Raises NotReplayable before the first is published, or kafka.KafkaUnavailable: some may have been published then. It
    is safe to try again, since every consumer recognizes a repeated event.
    """
    chosen = list(letters)
    for letter in chosen:
        if not letter.source_topic:
            raise NotReplayable(f"{letter.place}: {letter.reason}. It does not name the topic that it came from.")
    for letter in chosen:
        headers: Headers = [header for header in letter.headers if header[0] not in _PLACES]
        headers.append((_FROM, f"{config.topic_dead_letter} {letter.place}".encode()))
        again = kafka.Record(letter.source_topic, letter.key, letter.value, headers)
        mark = kafka.Record(config.topic_dead_letter, letter.key, b"", [(_MARK, letter.place.encode())])
        kafka.publish_and_wait(producer, [again])
        kafka.publish_and_wait(producer, [mark])
    return len(chosen)


def _read(consumer: Consumer, topic: str, *, count: int | None, seconds: float) -> list[Message]:
    """What the topic holds at this moment, without events that arrive while it is read.

    Raises KafkaException, also if nothing is read for `seconds`.
    """
    ends: dict[int, int] = {}
    starts: list[TopicPartition] = []
    for number in consumer.list_topics(topic, timeout=seconds).topics[topic].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=seconds)
        if high > low:
            ends[number] = high
            starts.append(TopicPartition(topic, number, low if count is None else max(low, high - count)))
    if not ends:
        return []
    consumer.assign(starts)
    unread, found, last_at = set(ends), [], time.monotonic()
    while unread:
        messages = consumer.consume(500, _PATIENCE)
        for message in messages:
            number, error = kafka.partition_of(message), message.error()
            if error is not None:
                # The last offsets may have no event: a transaction's marker, or an event that retention has deleted.
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                unread.discard(number)
                continue
            if kafka.offset_of(message) < ends[number]:
                found.append(message)
            if kafka.offset_of(message) + 1 >= ends[number]:
                unread.discard(number)
        if messages:
            last_at = time.monotonic()
        elif time.monotonic() - last_at >= seconds:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return found


def _letter(message: Message, marks: set[str]) -> Letter:
    headers = _headers(message)
    place = f"{message.partition()}:{message.offset()}"
    topic, partition, offset = (_text(headers, f"source_{part}") for part in ("topic", "partition", "offset"))
    return Letter(
        place=place,
        at=message.timestamp()[1],
        reason=_text(headers, "reason"),
        source=f"{topic} {partition}:{offset}" if partition else topic,
        headers=headers,
        key=message.key() or b"",
        value=message.value() or b"",
        is_replayed=place in marks,
    )


def _headers(message: Message) -> Headers:
    return list(message.headers() or [])  # type: ignore[arg-type]  # a list, whatever the annotation allows


def _text(headers: Headers, name: str) -> str:
    value = next((value for key, value in headers if key == name), None) or b""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
