"""Publishes the routing table to Kafka: the relay does it beside the outbox.

About once a second it asks PostgreSQL for the table's version, and publishes all of it when that has changed. It waits
for nothing: Kafka's confirmation comes while the relay goes on, and what was not confirmed is published again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from django.db import Error as DatabaseError
from django.db import connection

from apps.sms import events, routing
from smsgateway.config import Config
from smsgateway.metrics import ROUTES_ERRORS, ROUTES_PUBLISHED

log = structlog.get_logger(__name__)

KEY: Final = b"routes"
_LOOK_SECONDS: Final = 1.0
# Unchanged it is published again all the same: a topic that was lost or made anew has a table within this time.
_AGAIN_SECONDS: Final = 300.0

# A higher version at each start: after a restore of the database the table in it comes into force again. If the row is
# locked somebody changes a route at this moment, which does the same.
_RENEW: Final = """
UPDATE sms_routingversion
   SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
 WHERE id IN (SELECT id FROM sms_routingversion FOR UPDATE SKIP LOCKED)
"""


class RoutesPublisher:
    """Call `tick` often, from the thread that polls the producer. It never raises and never waits for Kafka."""

    def __init__(self, producer: Producer, *, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._producer = producer
        self._topic = config.kafka.topic_routes
        self._clock = clock
        self._looked_at = float("-inf")
        self._sent_at = float("-inf")
        self._sent: int | None = None  # the version that Kafka has, or is being given
        self._renewed = False
        self._in_trouble = False

    def tick(self) -> None:
        """If it is time, look whether the routes have changed, and publish them if so."""
        self._producer.poll(0)
        now = self._clock()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            self._look(now)
        except DatabaseError as error:
            self._failed("database", str(error).strip())
            connection.close()
        except (BufferError, KafkaException) as error:
            self._failed("kafka", str(error))

    def _look(self, now: float) -> None:
        if not self._renewed:
            with connection.cursor() as cursor:
                cursor.execute(_RENEW)
            self._renewed = True
        if routing.version_read() == self._sent and now - self._sent_at < _AGAIN_SECONDS:
            return
        table = routing.routes_read()

        def report(error: KafkaError | None, _message: object) -> None:
            if error is None:
                self._confirmed(table)
                return
            self._failed("kafka", error.str())
            if self._sent == table.version:
                self._sent = None

        self._producer.produce(self._topic, events.encode(table), KEY, on_delivery=report)
        self._sent, self._sent_at = table.version, now

    def _confirmed(self, table: events.RoutesPublished) -> None:
        self._in_trouble = False
        ROUTES_PUBLISHED.inc()
        log.info("routes_published", version=table.version, routes=len(table.routes))

    def _failed(self, reason: str, error: str) -> None:
        ROUTES_ERRORS.labels(reason).inc()
        if not self._in_trouble:
            log.error("routes_wait", away=reason, error=error)
        self._in_trouble = True
