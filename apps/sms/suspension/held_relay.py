"""Releases held messages: the relay publishes them when their customer is active again, or lets them expire.

A customer's most urgent messages go first, and messages of a priority in the order in which they were due. Customers
take turns. As with the outbox, rows are released in the transaction whose events Kafka has confirmed. A transaction
before that one claims them: what was claimed may be on Kafka, so it cannot be canceled, even if this process dies.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from confluent_kafka import Producer
from django.db import connection, transaction

from apps.customers.models import Customer
from apps.sms import events, statuses
from apps.sms.messages.work_orders import delivery_event, messages_of
from apps.sms.models import Message, StatusEntry
from apps.sms.shards import Shard
from apps.sms.suspension.held_messages import held_go, held_going, held_let_go, now_ms
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.metrics import HELD_RELEASED
from smsgateway.partitions.bounds import among

log = structlog.get_logger(__name__)

BATCH: Final = 1000
_SECONDS: Final = 0.5
_ORPHAN: Final = "held row without its message or customer"

# Customers with held messages, found by one step along the index for each, and whether they are active.
_WAITING: Final = """
WITH RECURSIVE waiting AS (
    (SELECT customer_id FROM sms_heldmessage WHERE is_held ORDER BY customer_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.customer_id FROM sms_heldmessage AS next
             WHERE next.is_held AND next.customer_id > waiting.customer_id
             ORDER BY next.customer_id LIMIT 1)
      FROM waiting WHERE waiting.customer_id IS NOT NULL
)
SELECT waiting.customer_id, coalesce(customer.status = 'active', true)
  FROM waiting
  LEFT JOIN customers_customer AS customer ON customer.id = waiting.customer_id
 WHERE waiting.customer_id IS NOT NULL
   AND get_byte(uuid_send(waiting.customer_id), 15) %% %(shards)s = %(shard)s
 ORDER BY waiting.customer_id
"""
_COLUMNS: Final = "message_id, customer_id, copy, attempts, delays, refused, request_id"
_EXPIRED: Final = f"""
SELECT {_COLUMNS}, true
  FROM sms_heldmessage
 WHERE is_held AND expires_at <= now() AND get_byte(uuid_send(customer_id), 15) %% %(shards)s = %(shard)s
 ORDER BY expires_at
 LIMIT %(limit)s
   FOR UPDATE SKIP LOCKED
"""
# What was claimed by a relay that died. It may be on Kafka already, so it is published again even if its customer is
# suspended once more: then a worker holds it.
_LEFT: Final = f"""
SELECT {_COLUMNS}, false
  FROM sms_heldmessage
 WHERE is_held AND is_going AND expires_at > now() AND get_byte(uuid_send(customer_id), 15) %% %(shards)s = %(shard)s
 ORDER BY rank, due_at, message_id
 LIMIT %(limit)s
   FOR UPDATE SKIP LOCKED
"""
_ACTIVE: Final = f"""
SELECT picked.*
  FROM unnest(%(customers)s::uuid[]) WITH ORDINALITY AS turn (customer_id, place)
 CROSS JOIN LATERAL (
    SELECT {_COLUMNS}, false
      FROM sms_heldmessage
     WHERE is_held AND NOT is_going AND customer_id = turn.customer_id AND expires_at > now()
     ORDER BY rank, due_at, message_id
     LIMIT %(share)s
       FOR UPDATE SKIP LOCKED) AS picked
 ORDER BY turn.place
"""


class _Row(NamedTuple):
    message_id: UUID
    customer_id: UUID
    copy: int
    attempts: int
    delays: int
    refused: list[str]
    request_id: str
    is_expired: bool


class HeldRelay:
    """`customers`: those with held messages, as of the last round. Their later messages must not overtake these."""

    def __init__(self, producer: Producer, *, config: Config, shard: Shard) -> None:
        self._producer = producer
        self._config = config
        self._bounds: dict[str, Any] = {"shard": shard.number, "shards": shard.of}
        self._next_at = float("-inf")
        self._last: UUID | None = None  # the customer that had the last turn
        self.customers: frozenset[UUID] = frozenset()

    def tick(self) -> None:
        """Do a round if one is due. Raises kafka.KafkaUnavailable or django.db.Error: every row stays then."""
        if time.monotonic() >= self._next_at and self.round() < BATCH:
            self._next_at = time.monotonic() + _SECONDS

    def round(self) -> int:
        """Let up to BATCH messages go on; return how many."""
        rows, copies = self._claim()
        if not rows:
            return 0
        with transaction.atomic():
            ours = held_going(copies=copies)
            ended = _with_a_status(copies)
            going = [row for row in rows if row.message_id in ours - ended]
            kafka.publish_and_wait(self._producer, self._records(going, copies))
            held_let_go(message_ids=ours)
        expired = sum(row.is_expired for row in going)
        HELD_RELEASED.labels("expired").inc(expired)
        HELD_RELEASED.labels("active").inc(len(going) - expired)
        log.info("held_messages_go_on", active=len(going) - expired, expired=expired)
        return len(ours)

    @transaction.atomic
    def _claim(self) -> tuple[list[_Row], dict[UUID, int]]:
        """The rows that may be published from now on, in their order, and the copy that each is published as."""
        with connection.cursor() as cursor:
            cursor.execute(_WAITING, self._bounds)
            found = cursor.fetchall()
            self.customers = frozenset(customer_id for customer_id, _ in found)
            if not found:
                return [], {}
            rows: list[_Row] = []
            for statement in (_EXPIRED, _LEFT):
                if len(rows) < BATCH:
                    cursor.execute(statement, self._bounds | {"limit": BATCH - len(rows)})
                    rows += [_Row(*row) for row in cursor.fetchall()]
            active = self._next_customers([customer_id for customer_id, is_active in found if is_active])
            if active and len(rows) < BATCH:
                share = -(-(BATCH - len(rows)) // len(active))
                cursor.execute(_ACTIVE, {"customers": active, "share": share})
                rows += [_Row(*row) for row in cursor.fetchall()]
        copies = {row.message_id: max(now_ms(), row.copy + 1) for row in rows}
        if rows:
            held_go(copies=copies)
        return rows, copies

    def _next_customers(self, active: list[UUID]) -> list[UUID]:
        """The customers of this round: those after the customer that had the last turn come first."""
        last = self._last
        if last is not None:
            active = [one for one in active if one > last] + [one for one in active if one <= last]
        active = active[:BATCH]
        self._last = active[-1] if active else None
        return active

    def _records(self, rows: Sequence[_Row], copies: dict[UUID, int]) -> Iterator[kafka.Record]:
        config = self._config.kafka
        messages = messages_of([row.message_id for row in rows])
        paces = dict(
            Customer.objects.filter(id__in={row.customer_id for row in rows}).values_list("id", "segments_per_second")
        )
        for row in rows:
            key = ids.to_text(row.customer_id).encode()
            headers = kafka.request_headers(row.request_id)
            message, pace = messages.get(row.message_id), paces.get(row.customer_id)
            if message is None or pace is None:
                log.error("dead_letters", count=1, reason=_ORPHAN, message_id=ids.to_text(row.message_id))
                headers = [*headers, ("reason", _ORPHAN.encode()), ("message_id", ids.to_text(row.message_id).encode())]
                yield kafka.Record(config.topic_dead_letter, key, b"", headers)
            elif row.is_expired:
                # Not through a worker: if its clock is behind, it would hold the message again.
                yield kafka.Record(config.topic_status, key, events.encode(_expired(message, row)), headers)
            else:
                delivery = delivery_event(
                    message,
                    pace=pace,
                    request_id=row.request_id,
                    copy=copies[row.message_id],
                    attempts=row.attempts,
                    delays=row.delays,
                    refused=tuple(row.refused),
                )
                yield kafka.Record(config.delivery_lanes[message.priority], key, events.encode(delivery), headers)


def _with_a_status(message_ids: Collection[UUID]) -> set[UUID]:
    """Messages that were submitted, or ended, after they were held: another copy was sent after a worker was killed."""
    entries = StatusEntry.objects.filter(**among("message_id", message_ids)).exclude(status=statuses.QUEUED)
    return set(entries.values_list("message_id", flat=True))


def _expired(message: Message, row: _Row) -> events.StatusChanged:
    return events.status_changed(
        message,
        status=statuses.EXPIRED,
        at=now_ms(),
        operator=message.operator,
        error="validity_ended",
        attempt=row.attempts,
    )
