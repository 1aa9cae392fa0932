"""Notices that this database was restored to an earlier time: then nothing may be sent from it.

A restored database has messages in its outbox and its schedule that were sent long ago, and lacks charges and top-ups
that Kafka knows. Kafka is the witness. Every event there follows from a row that was committed before it was published,
or was settled before its offset was committed. So the newest events are compared with the database, beyond the
positions that it recorded (see `smsgateway.kafka.positions`). One of these is proof:

- an accepted message that the database does not have;
- a work order for a message that is still in the schedule;
- a booking whose ledger entry the database does not have;
- a status that settlement has committed as read, of a message that the database has, but not with this status.

An interrupted round of the relay is no proof: its messages are in the database, and in the outbox still.
`manage.py recover` repairs the database and records the positions, so that the same events are not looked at again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

import structlog
from confluent_kafka import KafkaException, Message
from django.core.management.base import CommandError

from apps.balance import events as money
from apps.balance.models import LedgerEntry
from apps.balance.rebook import entries_known
from apps.sms import events, statuses
from apps.sms.models import Message as SmsMessage
from apps.sms.models import ScheduledEntry, StatusEntry
from apps.sms.recovery.lost_messages import messages_missing
from smsgateway import ids
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from smsgateway.kafka.client import Partition
from smsgateway.kafka.lag import LagClient
from smsgateway.kafka.positions import positions_read, recovery_is_under_way
from smsgateway.kafka.ranges import Range, RangeReader
from smsgateway.partitions.bounds import among
from smsgateway.partitions.lookup import archived_at

log = structlog.get_logger(__name__)

_LAST: Final = 50
_ANSWER_SECONDS: Final = 10.0
_REST_SECONDS: Final = 1.0
Event = TypeVar("Event")


class DatabaseRestored(Exception):
    """PostgreSQL was restored to an earlier time: Kafka knows more than it. Run manage.py recover"""


def restored_check(config: Kafka) -> None:
    """Raise DatabaseRestored if Kafka has events that this database should know and does not.

    Raises kafka.KafkaUnavailable, django.db.Error.
    """
    if recovery_is_under_way():
        raise DatabaseRestored("A recovery has begun and not ended.")
    with RangeReader(config, client_id="smsgateway-restored") as reader:
        found = _proof(config, reader)
        if found:
            # Another process may have written between our looks at Kafka and at the database.
            time.sleep(_REST_SECONDS)
            found = _proof(config, reader)
    if found:
        log.error("database_restored", proof=found, hint="manage.py recover")
        raise DatabaseRestored(found)


@contextmanager
def refused_if_restored(config: Kafka) -> Iterator[Callable[[], None]]:
    """For commands: the check that a process makes. If it finds a restored database, the command ends with one line."""
    try:
        yield lambda: restored_check(config)
    except DatabaseRestored as error:
        raise CommandError(f"{error.__doc__}. ({error})") from None


def _proof(config: Kafka, reader: RangeReader) -> str:
    """What shows that the database was restored; empty if nothing does."""
    lanes = list(config.delivery_lanes.values())
    written = reader.whole([config.topic_accepted, *lanes, config.topic_money])
    ranges = _newest(written) | _newest(_settled(config, reader))
    by_topic: dict[str, list[Message]] = {}
    for batch in reader.read(ranges):
        for message in batch:
            by_topic.setdefault(str(message.topic()), []).append(message)
    return (
        _unknown_messages(_decoded(by_topic.get(config.topic_accepted, ()), events.decode_accepted))
        or _still_scheduled(_decoded([one for lane in lanes for one in by_topic.get(lane, ())], events.decode_delivery))
        or _unknown_bookings(_decoded(by_topic.get(config.topic_money, ()), money.decode))
        or _unknown_statuses(_decoded(by_topic.get(config.topic_status, ()), events.decode_status))
    )


def _settled(config: Kafka, reader: RangeReader) -> dict[Partition, Range]:
    """What settlement has committed as read of the status topic."""
    held = reader.whole([config.topic_status])
    try:
        found = LagClient(config, client_id="smsgateway-restored").progress(
            {"settle": (config.topic_status,)}, timeout=_ANSWER_SECONDS
        )["settle"]
    except KafkaException as error:
        raise kafka.KafkaUnavailable(str(error)) from error
    return {
        place: Range(held[place].start, min(progress.committed, held[place].end))
        for place, progress in found.items()
        if place in held
    }


def _newest(held: Mapping[Partition, Range]) -> dict[Partition, Range]:
    """The last offsets of each partition, beyond what the database has recorded. A topic that was created again ends
    before its recorded position, which then says nothing."""
    known = positions_read({topic for topic, _ in held})
    chosen = {}
    for place, found in held.items():
        position = known.get(place, 0) if known.get(place, 0) <= found.end else 0
        chosen[place] = Range(max(found.start, found.end - _LAST, position), found.end)
    return chosen


def _decoded(messages: Collection[Message], decode: Callable[[bytes], Event]) -> list[Event]:
    return list(_each_decoded(messages, decode))


def _each_decoded(messages: Collection[Message], decode: Callable[[bytes], Event]) -> Iterator[Event]:
    for message in messages:
        try:
            yield decode(message.value() or b"")
        except events.UnreadableEvent:
            continue  # somebody else wrote it, or a newer version: it proves nothing


def _unknown_messages(found: Collection[events.MessageAccepted]) -> str:
    missing = messages_missing(message_ids={ids.from_text(event.message_id) for event in found})
    if not missing:
        return ""
    return f"{len(missing)} of the newest messages on Kafka are not in PostgreSQL, such as {ids.to_text(min(missing))}"


def _still_scheduled(found: Collection[events.DeliveryRequested]) -> str:
    message_ids = [ids.from_text(event.message_id) for event in found]
    waiting = ScheduledEntry.objects.filter(message_id__in=message_ids).first() if message_ids else None
    if waiting is None:
        return ""
    return f"message {ids.to_text(waiting.message_id)} is in the schedule, and Kafka has it as sent"


def _unknown_bookings(found: Collection[money.MoneyEvent]) -> str:
    booked = {ids.from_text(event.entry_id) for event in found if isinstance(event, money.MoneyBooked)}
    table = LedgerEntry._meta.db_table
    missing = {id_ for id_ in booked - entries_known(entry_ids=booked) if archived_at(table, id_) is None}
    if not missing:
        return ""
    return f"{len(missing)} of the newest bookings on Kafka are not in the ledger, such as {ids.to_text(min(missing))}"


def _unknown_statuses(found: Collection[events.StatusTopicEvent]) -> str:
    changed = {
        (ids.from_text(event.message_id), event.status)
        for event in found
        if isinstance(event, events.StatusChanged) and event.status in statuses.RANK
    }
    if not changed:
        return ""
    message_ids = {message_id for message_id, _ in changed}
    known = set(SmsMessage.objects.filter(**among("id", message_ids)).values_list("id", flat=True))
    recorded = set(StatusEntry.objects.filter(**among("message_id", message_ids)).values_list("message_id", "status"))
    missing = {(message_id, status) for message_id, status in changed - recorded if message_id in known}
    if not missing:
        return ""
    message_id, status = min(missing)
    return f"{len(missing)} of the newest settled statuses are not in PostgreSQL: {ids.to_text(message_id)} {status}"
