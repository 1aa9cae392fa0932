"""The settlement process in a thread."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

from confluent_kafka import Producer
from django.db import connections

from apps.sms.settlement import process as settling
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.process import Process
from tests.support.delivery import config_of_its_own


class Settling:
    """The process's loop in a thread, with topics of its own; a context manager."""

    def __init__(self) -> None:
        config = config_of_its_own()
        own = dataclasses.replace(config.kafka, topic_receipts=f"receipts-{config.kafka.consumer_group_prefix}")
        self.config: Config = dataclasses.replace(config, kafka=own)
        self.process = Process("settle")
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            settling.run(
                self.process,
                consumer=kafka.consumer(self.config.kafka, process="settle"),
                dead_letters=kafka.producer(self.config.kafka, client_id="test"),
                config=self.config,
            )
        finally:
            connections.close_all()

    def __enter__(self) -> Settling:
        self._thread.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        self.process.stop()
        self._thread.join()

    def publish(self, topic: str, *values: bytes) -> None:
        producer: Producer = kafka.producer(self.config.kafka, client_id="test")
        kafka.publish_and_wait(producer, [kafka.Record(topic, b"key", value, []) for value in values])
