"""Follows the routing table on Kafka, in a thread of its own beside the worker's event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
from typing import Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from apps.sms import events
from apps.sms.delivery.routes import RoutingTable
from smsgateway import kafka
from smsgateway.config import Config
from smsgateway.metrics import EVENTS_UNREADABLE, ROUTES_ERRORS, ROUTES_IN_USE, ROUTES_VERSION

log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.5
_ASK_SECONDS: Final = 5.0
_TROUBLE_SECONDS: Final = 0.5
_BATCH: Final = 100


class RoutesReader:
    """Keeps `table` the newest routing table that Kafka has.

    Use it in a worker so:

        reader = RoutesReader(config, carrier=routing.carrier, connections=operators)
        await reader.start()                          # before the first message is read
        …  names = reader.choose(message)             # at each try: the newest table, no lock, no wait
        await reader.close()

    `start` returns when everything that stands in the topic has been read. If there is no table within `wait_seconds`
    (Kafka does not answer, or nobody has published one) it returns all the same: `table` is then the built-in one, the
    number's carrier and else OPERATOR_DEFAULT, until one comes. A table once read stays in force whatever goes away.

    The consumer is in no group: each process reads the whole topic, and commits nothing.
    """

    def __init__(
        self,
        config: Config,
        *,
        carrier: Callable[[str], str | None],
        connections: Collection[str] | None = None,
        wait_seconds: float = 5.0,
    ) -> None:
        """`carrier`: see RoutingTable. `connections`: the operators that this process has."""
        self._config = config
        self._carrier = carrier
        self._connections = connections
        self._wait_seconds = wait_seconds
        self._default = config.routing.default
        self._table = RoutingTable(carrier=carrier, default=self._default)
        self._caught_up = threading.Event()
        self._stopping = threading.Event()
        self._in_trouble = False
        self._thread = threading.Thread(target=self._run, name="routes-reader", daemon=True)

    @property
    def table(self) -> RoutingTable:
        """The newest table known."""
        return self._table

    def choose(self, message: events.DeliveryRequested) -> tuple[str, ...]:
        """The names of the connections to try, in order, by the newest table."""
        return self._table.choose(message)

    async def start(self) -> None:
        """Begin to follow; return when `table` may be used."""
        self._thread.start()
        await asyncio.to_thread(self._caught_up.wait, self._wait_seconds)
        if not self._table.version:
            log.warning(
                "routes_built_in", reason="Kafka has no routing table yet", topic=self._config.kafka.topic_routes
            )

    async def close(self) -> None:
        """Stop following. `table` stays what it was."""
        self._stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except Exception:
                # A fault of ours must not leave the worker with an old table for good: begin anew.
                ROUTES_ERRORS.labels("internal").inc()
                log.exception("routes_reader_failed")
                self._stopping.wait(_TROUBLE_SECONDS)

    def _follow(self) -> None:
        # A topic that the broker made because somebody asked for it would not be compacted.
        options = {"enable.partition.eof": True, "allow.auto.create.topics": False}
        consumer = kafka.consumer(self._config.kafka, process="routes", **options)
        try:
            partitions = self._partitions(consumer)
            consumer.assign(partitions)
            behind = {partition.partition for partition in partitions}
            while not self._stopping.is_set():
                self._take(consumer.consume(_BATCH, _POLL_SECONDS), behind)
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer) -> list[TopicPartition]:
        """All partitions of the topic from their beginnings, as soon as Kafka knows it; none if we are stopped before.

        There should be one partition; a broker that made the topic by itself may have made more.
        """
        topic = self._config.kafka.topic_routes
        while not self._stopping.is_set():
            try:
                found = consumer.list_topics(topic, timeout=_ASK_SECONDS).topics[topic]
            except KafkaException as error:
                self._trouble(str(error))
            else:
                if found.error is None and found.partitions:
                    return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in found.partitions]
            self._stopping.wait(_TROUBLE_SECONDS)
        return []

    def _take(self, messages: list[Message], behind: set[int]) -> None:
        newest: events.RoutesPublished | None = None
        for message in messages:
            error = message.error()
            if error is None:
                published = _read(message)
                if published is not None and published.version > (newest or self._table).version:
                    newest = published
            elif error.code() == KafkaError._PARTITION_EOF:
                behind.discard(kafka.partition_of(message))
                self._in_trouble = False
            else:
                self._trouble(error.str())
        if newest is not None:
            self._adopt(newest)
        if not behind and self._table.version:
            self._caught_up.set()

    def _adopt(self, published: events.RoutesPublished) -> None:
        table = RoutingTable(published, carrier=self._carrier, default=self._default, connections=self._connections)
        previous, self._table = self._table, table
        self._in_trouble = False
        ROUTES_VERSION.set(table.version)
        ROUTES_IN_USE.set(len(table))
        log.info("routes_changed", version=table.version, previous=previous.version, routes=len(table))
        if table.unknown:
            log.warning("routes_lead_nowhere", unknown_connections=sorted(table.unknown))

    def _trouble(self, error: str) -> None:
        ROUTES_ERRORS.labels("kafka").inc()
        if not self._in_trouble:
            log.warning("routes_not_followed", error=error, version=self._table.version)
        self._in_trouble = True


def _read(message: Message) -> events.RoutesPublished | None:
    try:
        return events.decode_routes(message.value() or b"")
    except events.UnreadableEvent as error:
        EVENTS_UNREADABLE.labels(message.topic()).inc()
        log.error("routes_unreadable", error=str(error))
        return None
