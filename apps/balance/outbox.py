"""The outbox of money's events: they commit with the booking, and the relay publishes them to `sms.money`."""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import Producer
from django.db import connection, transaction

from apps.balance import events
from apps.balance.models import MoneyOutboxEntry
from smsgateway import ids
from smsgateway.kafka import client as kafka
from smsgateway.kafka.client import Partition
from smsgateway.metrics import OUTBOX_PUBLISHED

BATCH: Final = 1000
_SECONDS: Final = 0.5

_CLAIM: Final = """
SELECT id, customer_id, payload
  FROM balance_moneyoutboxentry
 WHERE get_byte(uuid_send(customer_id), 15) %% %(shards)s = %(shard)s
 ORDER BY id
 LIMIT %(limit)s
   FOR UPDATE SKIP LOCKED
"""


def money_outbox_add(event: events.MoneyEvent) -> None:
    """Put the event into the outbox. It commits with the caller's transaction."""
    customer_id = ids.from_text(event.customer_id)
    MoneyOutboxEntry(customer_id=customer_id, payload=events.encode(event)).save(force_insert=True)


class MoneyRelay:
    """Publishes the outbox of money's events, a few times a second. `positions`: the next offset of each partition that
    it wrote to."""

    def __init__(self, producer: Producer, *, topic: str, shard: int = 0, shards: int = 1) -> None:
        """`shard`: only the customers of this share are its own."""
        self._producer = producer
        self._topic = topic
        self._bounds = {"shard": shard, "shards": shards, "limit": BATCH}
        self._next_at = float("-inf")
        self.positions: dict[Partition, int] = {}

    def tick(self) -> None:
        """Do a round if one is due. Raises kafka.KafkaUnavailable or django.db.Error: every row stays then."""
        if time.monotonic() >= self._next_at and self.round() < BATCH:
            self._next_at = time.monotonic() + _SECONDS

    @transaction.atomic
    def round(self) -> int:
        """Publish up to BATCH events and delete their rows; return how many."""
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, self._bounds)
            rows = cursor.fetchall()
            if not rows:
                return 0
            records = (
                kafka.Record(self._topic, ids.to_text(customer_id).encode(), bytes(payload), [])
                for _, customer_id, payload in rows
            )
            kafka.publish_and_wait(self._producer, records, positions=self.positions)
            cursor.execute("DELETE FROM balance_moneyoutboxentry WHERE id = ANY(%s)", [[id_ for id_, *_ in rows]])
        OUTBOX_PUBLISHED.labels("money").inc(len(rows))
        return len(rows)
