"""Kafka topics of a test's own."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka


def a_topic(config: Kafka) -> str:
    """A new topic: it is made by its first use."""
    name = f"test.{uuid.uuid4().hex[:12]}"
    kafka.producer(config, client_id="test").list_topics(name, timeout=30)
    return name


class Read(NamedTuple):
    """A message as a consumer gives it."""

    body: bytes

    def value(self) -> bytes:
        return self.body
