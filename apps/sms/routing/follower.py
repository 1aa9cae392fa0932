"""Follows the routing table on Kafka, in a thread of its own beside the worker's event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog
from confluent_kafka import Message

from apps.sms import events
from apps.sms.routing.table import RoutingTable
from apps.sms.tables.follower import Parts, TableReader, decoded
from smsgateway.config import Config
from smsgateway.metrics import ROUTES_IN_USE, ROUTES_VERSION

log = structlog.get_logger(__name__)


class RoutesReader(TableReader):
    """Keeps `table` the newest routing table that Kafka has.

    Use it in a worker like this:

        reader = RoutesReader(config, carrier=routing.carrier, connections=operators)
        await reader.start()                          # before the first message is read
        …  names = reader.choose(message)             # at each try: the newest table, no lock, no wait
        await reader.close()

    Until a table is read, `table` is the built-in one: the number's carrier, else OPERATOR_DEFAULT.
    """

    name = "routes"

    def __init__(
        self,
        config: Config,
        *,
        carrier: Callable[[str], str | None],
        connections: Collection[str] | None = None,
        wait_seconds: float = 5.0,
    ) -> None:
        """`carrier`: see RoutingTable. `connections`: the operators that this process has."""
        super().__init__(config, topic=config.kafka.topic_routes, wait_seconds=wait_seconds)
        self._carrier = carrier
        self._connections = connections
        self._default = config.routing.default
        self._table = RoutingTable(carrier=carrier, default=self._default, connections=connections)
        self._parts: Parts[events.Route] = Parts()

    @property
    def version(self) -> int:
        return self._table.version

    @property
    def table(self) -> RoutingTable:
        """The newest table known."""
        return self._table

    def choose(self, message: events.DeliveryRequested) -> tuple[str, ...]:
        """The names of the connections to try, in order, by the newest table."""
        return self._table.choose(message)

    def use(self, messages: list[Message]) -> None:
        newest: events.RoutesPublished | None = None
        for message in messages:
            published = self._whole(decoded(message, events.decode_routes))
            if published is not None and published.version > (newest or self._table).version:
                newest = published
        if newest is not None:
            self._adopt(newest)

    def _whole(self, event: events.RoutesPublished | events.RoutesPart | None) -> events.RoutesPublished | None:
        if not isinstance(event, events.RoutesPart):
            return event
        routes = self._parts.add(version=event.version, part=event.part, parts=event.parts, rows=event.routes)
        return None if routes is None else events.RoutesPublished(version=event.version, routes=routes)

    def _adopt(self, published: events.RoutesPublished) -> None:
        table = RoutingTable(published, carrier=self._carrier, default=self._default, connections=self._connections)
        previous, self._table = self._table, table
        self._in_trouble = False
        ROUTES_VERSION.set(table.version)
        ROUTES_IN_USE.set(len(table))
        log.info("routes_changed", version=table.version, previous=previous.version, routes=len(table))
        if table.unknown:
            log.warning("routes_lead_nowhere", unknown_connections=sorted(table.unknown))
