"""The relay: outbox rows become events on Kafka.

A round claims rows in one transaction (FOR UPDATE SKIP LOCKED), publishes their events, waits until Kafka has confirmed
each, deletes the rows and commits. If anything fails the rows stay, so an event may be published twice but is never
lost; consumers recognize a repeated one. Rows are claimed by lock, never by `id > last`: ids do not commit in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple
from uuid import UUID

import structlog
from confluent_kafka import Producer
from django.db import Error as DatabaseError
from django.db import connection, transaction

from apps.balance.outbox import MoneyRelay
from apps.customers.models import Customer
from apps.sms import events
from apps.sms.messages.selectors import messages_ended
from apps.sms.messages.work_orders import accepted_event, delivery_event, messages_of
from apps.sms.models import Message
from apps.sms.operators.unread_receipts import unread_record
from apps.sms.routing.publisher import RoutesPublisher
from apps.sms.shards import WHOLE, Shard
from apps.sms.suspension.held_messages import held_add, held_ranks, now_ms, rank_of
from apps.sms.suspension.held_relay import HeldRelay
from apps.sms.suspension.publisher import SuspensionsPublisher
from smsgateway import ids, logs, tracing
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.kafka.client import Partition
from smsgateway.kafka.positions import PositionsSaver
from smsgateway.metrics import (
    HELD,
    OUTBOX_ERRORS,
    OUTBOX_OLDEST,
    OUTBOX_PUBLISHED,
    RELAY_NOT_SENT,
    SCHEDULE_RELEASED,
    TABLE_UNPUBLISHED,
)
from smsgateway.process import Process

log = structlog.get_logger(__name__)

BATCH = 1000
_IDLE_SECONDS = 0.05
_TROUBLE_SECONDS = 1.0
_SCHEDULE_SECONDS = 0.5
_ORPHAN = "outbox row without its message or customer"

# `shard`: with several relays each takes its own customers, so that a customer's events keep their order.
CLAIM = """
SELECT id, customer_id, message_id, payload, request_id, due
  FROM sms_outboxentry
 WHERE get_byte(uuid_send(customer_id), 15) %% %(shards)s = %(shard)s
 ORDER BY id
 LIMIT %(limit)s
   FOR UPDATE SKIP LOCKED
"""


# Scheduled messages that are due go to the outbox. The message belongs to the process that deletes its row (see
# `apps.sms.settlement.cancel`).
RELEASE = """
WITH due AS (
    DELETE FROM sms_scheduledentry
     WHERE message_id IN (
        SELECT message_id FROM sms_scheduledentry
         WHERE send_at <= now()
         ORDER BY send_at LIMIT %s
           FOR UPDATE SKIP LOCKED)
 RETURNING customer_id, message_id, send_at, request_id
)
INSERT INTO sms_outboxentry (customer_id, message_id, request_id, due)
SELECT customer_id, message_id, request_id, true FROM due ORDER BY send_at
"""


class _Row(NamedTuple):
    id: int
    customer_id: UUID
    message_id: UUID
    payload: memoryview | bytes | None
    request_id: str
    due: bool


def relay_round(
    *,
    producer: Producer,
    config: Config,
    shard: Shard = WHOLE,
    waiting: AbstractSet[UUID] = frozenset(),
    positions: dict[Partition, int] | None = None,
) -> int:
    """Publish up to BATCH outbox rows and delete them; return how many.

    Messages of suspended customers are held instead (see `apps.sms.suspension.held_messages`). `waiting`: customers
    that may have held messages; their later messages must not overtake those. `positions` gets the offset after each
    event.
    Raises kafka.KafkaUnavailable or django.db.Error; every row is still there then.
    """
    since = time.time_ns()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CLAIM, {"limit": BATCH, "shard": shard.number, "shards": shard.of})
        rows = [_Row(*row) for row in cursor.fetchall()]
        # A scheduled message is older than its row, so its id does not say since when the row waits.
        accepted = [row.message_id for row in rows if row.payload is None and not row.due]
        OUTBOX_OLDEST.set(time.time() - ids.milliseconds(min(accepted)) / 1000 if accepted else 0)
        if not rows:
            return 0
        message_ids = [row.message_id for row in rows if row.payload is None]
        messages, ended = messages_of(message_ids), messages_ended(message_ids=message_ids)
        payers = _payers({row.customer_id for row in rows})
        held = _to_hold([row for row in rows if row.message_id not in ended], messages, payers, waiting & payers.keys())
        records = _records(rows, messages, payers, ended, {row.id for row in held}, config)
        kafka.publish_and_wait(producer, records, positions=positions)
        held_add(messages=[(messages[row.message_id], row.request_id) for row in held])
        cursor.execute("DELETE FROM sms_outboxentry WHERE id = ANY(%s)", [[row.id for row in rows]])
    if tracing.is_on:
        tracing.span("relay", [row.message_id for row in rows if row.payload is None], since=since, attributes={})
    if logs.at_debug():
        for row in rows:
            log.debug("relayed", message_id=ids.to_text(row.message_id), request_id=row.request_id)
    HELD.labels("relay").inc(len(held))
    OUTBOX_PUBLISHED.labels("accepted").inc(len(accepted))
    due = sum(row.due for row in rows)
    OUTBOX_PUBLISHED.labels("due").inc(due)
    OUTBOX_PUBLISHED.labels("status").inc(len(rows) - len(accepted) - due)
    return len(rows)


def release_due() -> int:
    """Put the scheduled messages that are due into the outbox; return how many. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, [BATCH])
        released: int = cursor.rowcount
    SCHEDULE_RELEASED.inc(released)
    return released


def run(
    process: Process,
    *,
    producer: Producer,
    config: Config,
    shard: Shard = WHOLE,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Relay until the process is asked to stop.

    `check` is called before the first round, and after each time that PostgreSQL did not answer: it raises an error of
    its own if nothing may be published from this database (see `apps.sms.recovery.restored`).
    """
    checked, unchecked_since = False, time.monotonic()
    in_trouble = False
    released_at = float("-inf")
    routes = RoutesPublisher(producer, config=config)
    suspensions = SuspensionsPublisher(producer, config=config)
    held = HeldRelay(producer, config=config, shard=shard)
    money = MoneyRelay(producer, topic=config.kafka.topic_money, shard=shard.number, shards=shard.of)
    # Only topics that the relay alone writes to: settlement records how far it has read the others.
    own = {config.kafka.topic_accepted, *config.kafka.delivery_lanes.values(), config.kafka.topic_money}
    saver = PositionsSaver(topics=own)
    while not process.stopping.is_set():
        process.beat()
        try:
            if not checked:
                unchecked_since = time.monotonic() if not in_trouble else unchecked_since
                check()
                checked = True
            routes.tick()
            suspensions.tick()
            held.tick()
            money.tick()
            if time.monotonic() - released_at >= _SCHEDULE_SECONDS and release_due() < BATCH:
                released_at = time.monotonic()
            count = relay_round(
                producer=producer, config=config, shard=shard, waiting=held.customers, positions=money.positions
            )
            saver.tick(money.positions)
        except (kafka.KafkaUnavailable, DatabaseError) as error:
            reason = "kafka" if isinstance(error, kafka.KafkaUnavailable) else "database"
            OUTBOX_ERRORS.labels(reason).inc()
            if not in_trouble:
                log.error("relay_waits", away=reason, error=str(error).strip())
            in_trouble = True
            checked &= reason == "kafka"  # another database may answer next
            if not checked:
                # Nor are the tables published before the check.
                for table in (routes, suspensions):
                    TABLE_UNPUBLISHED.labels(table.name).set(time.monotonic() - unchecked_since)
            connection.close()
            process.stopping.wait(_TROUBLE_SECONDS)
            continue
        if in_trouble:
            log.info("relay_goes_on")
            in_trouble = False
        if count < BATCH:
            process.stopping.wait(_IDLE_SECONDS)


class _Payer(NamedTuple):
    """What decides how a customer's messages are published."""

    pace: int
    is_active: bool


def _payers(customer_ids: Collection[UUID]) -> dict[UUID, _Payer]:
    found = Customer.objects.filter(id__in=customer_ids).values_list("id", "segments_per_second", "status")
    return {id_: _Payer(pace, status == Customer.Status.ACTIVE) for id_, pace, status in found}


def _to_hold(
    rows: Sequence[_Row], messages: Mapping[UUID, Message], payers: Mapping[UUID, _Payer], waiting: Collection[UUID]
) -> list[_Row]:
    """The rows whose messages are held: their customer is suspended, or earlier messages of the same customer and
    priority are still held."""
    queues = held_ranks(customer_ids=[id_ for id_ in waiting if id_ in payers and payers[id_].is_active])
    found = []
    for row in rows:
        message, payer = messages.get(row.message_id), payers.get(row.customer_id)
        if row.payload is not None or message is None or payer is None:
            continue
        if not row.due and message.send_at is not None:
            continue  # it stays in the schedule
        if not payer.is_active or (row.customer_id, rank_of(message.priority)) in queues:
            found.append(row)
    return found


def _records(
    rows: Sequence[_Row],
    messages: Mapping[UUID, Message],
    payers: Mapping[UUID, _Payer],
    ended: Mapping[UUID, str],
    held: Collection[int],
    config: Config,
) -> Iterator[kafka.Record]:
    """The events to publish. `ended`: messages with a final status. `held`: ids of rows whose messages are held."""
    lanes, now = config.kafka.delivery_lanes, now_ms()
    for row in rows:
        key = ids.to_text(row.customer_id).encode()
        headers = kafka.request_headers(row.request_id)
        if row.payload is not None:
            payload = bytes(row.payload)
            if events.is_unread_receipt(payload):
                letter = unread_record(events.decode_unread(payload), config=config.kafka)
                yield letter._replace(headers=[*letter.headers, *headers])
                continue
            topic = config.kafka.topic_accepted if events.is_accepted(payload) else config.kafka.topic_status
            yield kafka.Record(topic, key, payload, headers)
            continue
        message, payer = messages.get(row.message_id), payers.get(row.customer_id)
        if message is None or payer is None:
            # Only somebody editing the database causes this. The row must neither block those behind it nor vanish.
            log.error("dead_letters", count=1, reason=_ORPHAN, message_id=ids.to_text(row.message_id))
            headers = [*headers, ("reason", _ORPHAN.encode()), ("message_id", ids.to_text(row.message_id).encode())]
            yield kafka.Record(config.kafka.topic_dead_letter, key, b"", headers)
            continue
        if not row.due:
            accepted = accepted_event(message, currency=config.sms.currency)
            yield kafka.Record(config.kafka.topic_accepted, key, events.encode(accepted), headers)
        if (not row.due and message.send_at is not None) or row.id in held:
            continue
        if message.id in ended:
            # It was refunded, or the phone has it already: it must not be sent.
            log.warning("ended_message_not_sent", message_id=ids.to_text(message.id), status=ended[message.id])
            RELAY_NOT_SENT.inc()
        else:
            delivery = delivery_event(message, pace=payer.pace, request_id=row.request_id, copy=now)
            yield kafka.Record(lanes[message.priority], key, events.encode(delivery), headers)
