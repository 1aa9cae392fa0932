"""The settlement process: reads the status topic in batches and settles each (see `apps.sms.settlement`)."""

from __future__ import annotations

from confluent_kafka import Consumer, Message, Producer
from django.db import DataError, InterfaceError, OperationalError, connection

from apps.sms import events, statuses
from apps.sms.settlement import statuses_settle
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.consuming import consume_batches
from smsgateway.process import Process

_BATCH = 500
_WAIT_SECONDS = 0.1


def run(process: Process, *, consumer: Consumer, dead_letters: Producer, config: Config) -> None:
    """Settle until the process is asked to stop."""
    consume_batches(
        process,
        consumer=consumer,
        topics=[config.kafka.topic_status],
        write=write,
        away=(OperationalError, InterfaceError),
        dead_letters=dead_letters,
        dead_letter_topic=config.kafka.topic_dead_letter,
        batch=_BATCH,
        wait_seconds=_WAIT_SECONDS,
    )


def write(messages: list[Message]) -> list[tuple[Message, str]]:
    """Settle the events and return those that cannot be, each with the reason. Raises while PostgreSQL is away."""
    readable: list[tuple[Message, events.StatusChanged]] = []
    unusable: list[tuple[Message, str]] = []
    for message in messages:
        try:
            event = events.decode_status(message.value() or b"")
            ids.from_text(event.message_id)
        except events.UnreadableEvent as error:
            unusable.append((message, f"unreadable: {error}"))
            continue
        if isinstance(event, events.StatusChanged):
            if event.status in statuses.RANK:
                readable.append((message, event))
            else:
                unusable.append((message, f"unknown status: {event.status}"))
    try:
        return unusable + _settle(readable)
    except (OperationalError, InterfaceError):
        connection.close()
        raise


def _settle(batch: list[tuple[Message, events.StatusChanged]]) -> list[tuple[Message, str]]:
    """Settle a batch. One that PostgreSQL cannot store is halved until the event at fault stands alone."""
    if not batch:
        return []
    try:
        settled = statuses_settle(batch=[event for _, event in batch])
    except (DataError, ValueError, OverflowError) as error:
        if len(batch) == 1:
            return [(batch[0][0], f"cannot be stored: {error}")]
        middle = len(batch) // 2
        return _settle(batch[:middle]) + _settle(batch[middle:])
    unknown = {id(event) for event in settled.unknown}
    return [(message, "unknown message") for message, event in batch if id(event) in unknown]
