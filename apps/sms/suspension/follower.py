"""Follows the suspended customers on Kafka, in a thread of its own beside the worker's event loop."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

import structlog
from confluent_kafka import Message

from apps.sms import events
from apps.sms.tables.follower import Parts, TableReader, decoded
from smsgateway.config import Config
from smsgateway.metrics import SUSPENSIONS_IN_USE, SUSPENSIONS_VERSION

log = structlog.get_logger(__name__)


class Suspensions(Protocol):
    """Knows which customers are suspended."""

    @property
    def customers(self) -> Set[str]:
        """Their ids. The set itself never changes; it is replaced by another one."""
        ...


class Nobody:
    """No customer is suspended."""

    customers: Set[str] = frozenset()


class SuspensionsReader(TableReader):
    """`customers`: the ids of the suspended customers, as text. Always a complete set, replaced by the next one."""

    name = "suspensions"

    def __init__(self, config: Config, *, wait_seconds: float = 5.0) -> None:
        super().__init__(config, topic=config.kafka.topic_suspended, wait_seconds=wait_seconds)
        self.customers: frozenset[str] = frozenset()
        self._version = 0
        self._parts: Parts[str] = Parts()

    @property
    def version(self) -> int:
        return self._version

    def use(self, messages: list[Message]) -> None:
        for message in messages:
            event = decoded(message, events.decode_suspended)
            if event is None or event.version <= self._version:
                continue
            customers = self._parts.add(
                version=event.version, part=event.part, parts=event.parts, rows=event.customer_ids
            )
            if customers is not None:
                self._adopt(event.version, frozenset(customers))

    def _adopt(self, version: int, customers: frozenset[str]) -> None:
        if customers != self.customers:
            self.customers = customers
            log.info("suspensions_changed", version=version, customers=len(customers))
        self._version = version
        SUSPENSIONS_VERSION.set(version)
        SUSPENSIONS_IN_USE.set(len(customers))
