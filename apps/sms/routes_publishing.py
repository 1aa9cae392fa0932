"""The routing table for the workers, published by the relay (see `apps.sms.table_publisher`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Producer
from django.db import connection

from apps.sms import events, routing
from apps.sms.table_publisher import Snapshot, TablePublisher, split
from smsgateway.config import Config

KEY: Final = b"routes"

# A higher version at each start: after a restore of the database the table in it comes into force again. If the row is
# locked somebody changes a route at this moment, which does the same.
_RENEW: Final = """
UPDATE sms_routingversion
   SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
 WHERE id IN (SELECT id FROM sms_routingversion FOR UPDATE SKIP LOCKED)
"""


class RoutesPublisher(TablePublisher):
    """See TablePublisher."""

    name = "routes"

    def __init__(self, producer: Producer, *, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(producer, topic=config.kafka.topic_routes, clock=clock)

    def renew(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_RENEW)

    def version(self) -> int:
        return routing.version_read()

    def snapshot(self) -> Snapshot:
        table = routing.routes_read()
        return Snapshot(table.version, len(table.routes), records_of(table))


def records_of(table: events.RoutesPublished) -> list[tuple[bytes, bytes]]:
    """Key and event of each part. Raises TableTooLarge.

    A table that fits one event is one, as it always was. Parts have keys of their own: a worker of an earlier version,
    which cannot read them, goes on with the last whole table.
    """
    parts = split(table.routes, size=lambda route: len(events.encode(route)))
    if len(parts) == 1:
        return [(KEY, events.encode(table))]
    return [
        (
            b"%s.%d" % (KEY, number),
            events.encode(events.RoutesPart(version=table.version, part=number, parts=len(parts), routes=routes)),
        )
        for number, routes in enumerate(parts)
    ]
