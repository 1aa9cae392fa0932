"""`manage.py recover --offsets`: sets the offsets of the delivery workers, which are lost, however long the topics are.

PostgreSQL knows which messages have a status. Those without one are put back into the outbox, and the offsets are set
to the end of each partition: a message is then submitted from its new work order alone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple
from uuid import UUID

from confluent_kafka import Consumer, KafkaException, TopicPartition
from django.db import connection, transaction

from apps.sms import events
from apps.sms.recovery.lost_messages import messages_missing
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.kafka.client import Partition
from smsgateway.kafka.groups import topics_by_process
from smsgateway.kafka.lag import lag
from smsgateway.kafka.ranges import Range, RangeReader
from smsgateway.partitions.bounds import id_bounds, within

_SECONDS: Final = 30.0
_CLIENT: Final = "smsgateway-recover"
# What waits elsewhere is not put back: it is sent from there.
_PUT_BACK: Final = f"""
INSERT INTO sms_outboxentry (customer_id, message_id, due)
SELECT message.customer_id, message.id, message.send_at IS NOT NULL
  FROM sms_message AS message
 WHERE message.id = ANY(%(ids)s) AND {within("message.id")}
   AND NOT EXISTS (
      SELECT FROM sms_statusentry AS log
       WHERE log.message_id = message.id AND {within("log.message_id")} AND log.status <> 'queued')
   AND NOT EXISTS (SELECT FROM sms_outboxentry AS waiting WHERE waiting.message_id = message.id)
   AND NOT EXISTS (SELECT FROM sms_scheduledentry AS waiting WHERE waiting.message_id = message.id)
   AND NOT EXISTS (SELECT FROM sms_heldmessage AS waiting WHERE waiting.message_id = message.id AND waiting.is_held)
"""


class SettlementBehind(Exception):
    """Settlement has not read every status: let it run until it has"""


class WorkersRun(Exception):
    """Processes of this group are running"""


class NewOffsets(NamedTuple):
    """How many partitions got new offsets, how many messages were put back, and ids that the database does not have."""

    partitions: int
    put_back: int
    unknown: list[UUID]


def offsets_recover(*, config: Config) -> NewOffsets:
    """Set the lost offsets. The relay and the delivery workers must not run; settlement must have read everything.

    Can be called again. Raises SettlementBehind, WorkersRun, kafka.KafkaUnavailable, django.db.Error.
    """
    behind = sum(lag(config.kafka, process="settle", topics=config.kafka.settled_topics).values())
    if behind:
        raise SettlementBehind(f"It has {behind} events to read.")
    topics = config.kafka.read_delivery_topics
    with _alone(config, "deliver", topics[0]) as consumer, RangeReader(config.kafka, client_id=_CLIENT) as reader:
        whole = reader.whole(topics)
        known = _committed(consumer, whole)
        lost = {place: found for place, found in whole.items() if known.get(place, -1) < 0}
        put_back, unknown = _put_back(reader, lost)
        _commit(consumer, {place: found.end for place, found in lost.items()})
    return NewOffsets(sum(found.start < found.end for found in lost.values()), put_back, unknown)


def statistics_restart(*, config: Config) -> int:
    """Let the bridge to ClickHouse read everything on Kafka again, which changes no number; return how many events.

    The bridge must not run. Raises WorkersRun, kafka.KafkaUnavailable.
    """
    topics = topics_by_process(config.kafka)["ingest"]
    with _alone(config, "ingest", topics[0]) as consumer, RangeReader(config.kafka, client_id=_CLIENT) as reader:
        whole = reader.whole(topics)
        _commit(consumer, {place: found.start for place, found in whole.items()})
    return sum(found.end - found.start for found in whole.values())


def _put_back(reader: RangeReader, lost: dict[Partition, Range]) -> tuple[int, list[UUID]]:
    count = 0
    unknown: list[UUID] = []
    for batch in reader.read(lost):
        message_ids = set(_ids_of(message.value() or b"" for message in batch))
        if message_ids:
            count += _put_back_some(message_ids)
            unknown += sorted(messages_missing(message_ids=message_ids))
    return count, unknown


@transaction.atomic
def _put_back_some(message_ids: Collection[UUID]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_PUT_BACK, id_bounds(message_ids))
        return int(cursor.rowcount)


def _ids_of(values: Iterable[bytes]) -> Iterable[UUID]:
    for value in values:
        try:
            yield ids.from_text(events.decode_delivery(value).message_id)
        except events.UnreadableEvent:
            continue  # a worker has made a dead letter of it


@contextmanager
def _alone(config: Config, process: str, topic: str) -> Iterator[Consumer]:
    """The only member of a process's group, which may commit for it. Raises WorkersRun if there are others."""
    consumer = kafka.consumer(config.kafka, process=process)
    try:
        count = len(consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions)
        consumer.subscribe([topic])
        until = time.monotonic() + _SECONDS
        while len(consumer.assignment()) < count:
            # A batch that is read here is committed by nobody.
            consumer.consume(1, 0.1)
            if time.monotonic() > until:
                raise WorkersRun(f"{len(consumer.assignment())} of {count} partitions are free. Stop them.")
        yield consumer
    except KafkaException as error:
        raise kafka.KafkaUnavailable(error.args[0].str()) from error
    finally:
        consumer.close()


def _committed(consumer: Consumer, places: Collection[Partition]) -> dict[Partition, int]:
    asked = [TopicPartition(*place) for place in places]
    return {(place.topic, place.partition): place.offset for place in consumer.committed(asked, timeout=_SECONDS)}


def _commit(consumer: Consumer, offsets: Mapping[Partition, int]) -> None:
    if not offsets:
        return
    places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
    for place in consumer.commit(offsets=places, asynchronous=False) or ():
        if place.error is not None:
            raise KafkaException(place.error)
