"""Publishes the suspended customers to the workers (see `apps.sms.tables.publisher`).

A trigger counts up the version in the transaction that changes a customer's status, also by SQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Producer
from django.db import connection

from apps.sms import events
from apps.sms.tables.publisher import Snapshot, TablePublisher, split
from smsgateway import ids
from smsgateway.config import Config

_VERSION: Final = "SELECT version FROM sms_suspensionversion"
# One statement, so one snapshot: a version always comes with its own customers.
_SUSPENDED: Final = """
SELECT now.version, customer.id
  FROM sms_suspensionversion AS now
  LEFT JOIN customers_customer AS customer ON customer.status <> 'active'
 ORDER BY customer.id
"""
_RENEW: Final = """
UPDATE sms_suspensionversion
   SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
 WHERE id IN (SELECT id FROM sms_suspensionversion FOR UPDATE SKIP LOCKED)
"""
_KEY: Final = b"suspended"


class SuspensionsPublisher(TablePublisher):
    """See TablePublisher."""

    name = "suspensions"

    def __init__(self, producer: Producer, *, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(producer, topic=config.kafka.topic_suspended, clock=clock)

    def renew(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_RENEW)

    def version(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(_VERSION)
            version: int = cursor.fetchone()[0]
        return version

    def snapshot(self) -> Snapshot:
        with connection.cursor() as cursor:
            cursor.execute(_SUSPENDED)
            rows = cursor.fetchall()
        version = rows[0][0]
        customers = [ids.to_text(customer_id) for _, customer_id in rows if customer_id is not None]
        parts = split(customers, size=lambda customer: len(customer) + 2)
        records = [
            (
                b"%s.%d" % (_KEY, number),
                events.encode(
                    events.CustomersSuspended(version=version, part=number, parts=len(parts), customer_ids=part)
                ),
            )
            for number, part in enumerate(parts)
        ]
        return Snapshot(version, len(customers), records)
