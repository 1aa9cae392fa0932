"""Kafka to ClickHouse: events are inserted first and committed afterwards.

A crash between the two reads events again, and an event that is read again replaces itself (see
`migrations_clickhouse`). So the statistics are exact however often the bridge dies or a topic is read again.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from confluent_kafka import Message

from apps.reporting import rows, snapshots
from apps.sms import events
from smsgateway import kafka
from smsgateway.clickhouse import ClickHouse, ClickHouseError
from smsgateway.config import groups
from smsgateway.consuming import consume_batches
from smsgateway.metrics import INGEST_BATCH_DURATION, INGEST_EVENTS, INGEST_NEWEST
from smsgateway.process import Process

NAME: Final = "ingest"
BATCH_EVENTS: Final = 50_000
BATCH_SECONDS: Final = 0.5


def run(process: Process, *, config: groups.Kafka, database: ClickHouse) -> None:
    """Bring the events of accepted messages and of statuses into `database` until asked to stop.

    Reads in the consumer group PREFIX.ingest; more copies share the Kafka partitions.
    """
    writer = Writer(config=config, database=database)
    consume_batches(
        process,
        consumer=kafka.consumer(config, process=NAME),
        topics=[config.topic_accepted, config.topic_status],
        write=writer.write,
        # A refused insert waits too: the schema may not be there yet, and no event is worth losing for it.
        away=(ClickHouseError,),
        dead_letters=kafka.producer(config, client_id=f"smsgateway-{NAME}"),
        dead_letter_topic=config.topic_dead_letter,
        batch=BATCH_EVENTS,
        wait_seconds=BATCH_SECONDS,
    )


class Writer:
    """Inserts batches of Kafka messages."""

    def __init__(self, *, config: groups.Kafka, database: ClickHouse) -> None:
        self._database = database
        self._decoders: dict[str, rows.Decoder] = {
            config.topic_accepted: events.decode_accepted,
            config.topic_status: events.decode_status,
        }

    def write(self, messages: list[Message]) -> list[tuple[Message, str]]:
        """Insert the events, and return those that nobody can read, each with the reason.

        Raises ClickHouseError if they may not have been written; calling again with the same messages is right.
        """
        readable: list[rows.Row] = []
        unreadable: list[tuple[Message, str]] = []
        for message in messages:
            try:
                readable.append(rows.read(message.value() or b"", decode=self._decoders[str(message.topic())]))
            except rows.UnreadableEvent as error:
                unreadable.append((message, str(error)))
        if readable:
            with INGEST_BATCH_DURATION.time():
                columns = list(zip(*readable, strict=True))
                self._database.insert(rows.INSERT, columns)
                minutes = set(zip(columns[rows.CUSTOMER], columns[rows.MINUTE], strict=True))
                snapshots.compute_minutes(minutes, database=self._database)
                snapshots.compute_days({snapshots.day_of(minute) for minute in minutes}, database=self._database)
            for kind, count in Counter(row[rows.TYPE] for row in readable).items():
                INGEST_EVENTS.labels(kind).inc(count)
            INGEST_NEWEST.set(max(row[rows.AT] for row in readable) / 1000)
        return unreadable
