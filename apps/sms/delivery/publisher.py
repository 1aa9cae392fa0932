"""Publishes events from the event loop and waits for Kafka's confirmation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from smsgateway.kafka.client import Record

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.005
_TROUBLE_SECONDS = 1.0


class Publisher:
    """Publishes records, and lets coroutines await Kafka's confirmation.

    While records are unconfirmed the event loop itself polls for the reports: a thread would compete with it for the
    interpreter lock at every message.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._loop = asyncio.get_running_loop()
        self._unconfirmed = 0
        self._in_trouble = False
        self._posts = 0
        self._all_posted = asyncio.Event()
        self._all_posted.set()
        self._repeats: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[None] = self._loop.create_future()

    async def publish(self, record: Record) -> None:
        """Return when Kafka has confirmed the record. Tries again while Kafka is down.

        Raises KafkaException when this producer cannot publish anything any more.
        """
        while (error := await self._try(record)) is not None:
            if not self._in_trouble:
                log.error("publishing_waits", topic=record.topic, error=error)
            self._in_trouble = True
            await asyncio.sleep(_TROUBLE_SECONDS)
        if self._in_trouble:
            self._in_trouble = False
            log.info("publishing_goes_on", topic=record.topic)

    def post(self, record: Record, then: Callable[[], None]) -> None:
        """Publish without waiting, cheaper than by a task. `then` is called when Kafka has confirmed it."""

        def report(error: KafkaError | None, _message: object) -> None:
            self._unconfirmed -= 1
            if error is None:
                confirmed()
            else:
                repeat()

        def confirmed() -> None:
            self._posts -= 1
            if not self._posts:
                self._all_posted.set()
            then()

        def repeat() -> None:
            task = self._loop.create_task(self.publish(record))
            self._repeats.add(task)
            task.add_done_callback(self._repeats.discard)
            task.add_done_callback(repeated)

        def repeated(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                return
            if (error := task.exception()) is None:
                confirmed()
            elif not self._broken.done():
                self._broken.set_exception(error)

        self._posts += 1
        self._all_posted.clear()
        try:
            self._produce(record, report)
        except (BufferError, KafkaException):
            repeat()

    async def broken(self) -> None:
        """Wait until a posted record can never be published, and raise KafkaException. Never returns."""
        await self._broken

    async def posted(self) -> None:
        """Return when Kafka has confirmed every posted record."""
        await self._all_posted.wait()

    async def _try(self, record: Record) -> str | None:
        confirmed: asyncio.Future[str | None] = self._loop.create_future()

        def report(error: KafkaError | None, _message: object) -> None:
            self._unconfirmed -= 1
            if not confirmed.done():
                confirmed.set_result(None if error is None else error.str())

        try:
            self._produce(record, report)
        except BufferError as error:
            return str(error)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._FATAL:
                raise
            return str(error)
        return await confirmed

    def _produce(self, record: Record, report: Callable[[KafkaError | None, object], None]) -> None:
        self._producer.produce(record.topic, record.value, record.key, record.partition, report, headers=record.headers)
        self._unconfirmed += 1
        if self._unconfirmed == 1:
            self._loop.call_later(_POLL_SECONDS, self._serve_reports)

    def _serve_reports(self) -> None:
        self._producer.poll(0)
        if self._unconfirmed:
            self._loop.call_later(_POLL_SECONDS, self._serve_reports)
