"""Publishes the routing table to the workers (see `apps.sms.tables.publisher`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Producer
from django.db import connection

from apps.sms import events
from apps.sms.routing import database as routing
from apps.sms.tables import publisher as table_publisher
from apps.sms.tables.publisher import Snapshot, TablePublisher, split
from smsgateway.config import Config

KEY: Final = b"routes"

# Counts up the version at each start, so that the table of a restored database comes into force again. If the row is
# locked, somebody changes a route at this moment, which counts it up too.
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


def routes_too_large(*, route: events.Route, instead_of: int | None) -> str:
    """Why the routing table would be too large with `route`, which replaces the route with the id `instead_of`; empty
    if it would not."""
    others = (one for one in routing.routes_read().routes if one.id != instead_of)
    own = len(events.encode(route))
    size = own + sum(len(events.encode(one)) + 1 for one in others)
    if own <= table_publisher.PART_BYTES * 9 // 10 and size <= table_publisher.most_bytes():
        return ""
    return (
        f"With this route the routing table would have {size:,} bytes (this route alone {own:,}); at most "
        f"{table_publisher.most_bytes():,} can be published. Use fewer, shorter prefixes, or delete unused routes."
    )


def records_of(table: events.RoutesPublished) -> list[tuple[bytes, bytes]]:
    """Key and event of each part. Raises TableTooLarge.

    A table that fits one event is published as one. Parts have keys of their own: a worker of an earlier version, which
    cannot read them, keeps the last whole table.
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
