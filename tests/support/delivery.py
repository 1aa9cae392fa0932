"""A delivery worker in a thread, real Kafka topics of a test's own, and an operator that does as told."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Message, Producer, TopicPartition
from django.conf import settings

from apps.sms import events
from apps.sms.delivery.worker import DeliveryWorker, Routes
from apps.sms.operators.base import Limits, ReadReceipt, ReceiptSink, Submission
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.process import Process

WAIT_SECONDS = 60.0
PARTITIONS = 4  # of every topic of the embedded broker

WIDE = Limits(in_flight=10_000)

Submit = Callable[[events.DeliveryRequested], Awaitable[str]]
Work = list[tuple[int, events.DeliveryRequested | bytes]]  # each with the number of its partition


def config_of_its_own(*, overflow_lanes: int = 4, **worker: Any) -> Config:
    """The settings, with topics and a group that nobody else uses, and these of the worker's changed."""
    suffix = ids.to_text(ids.new_id())
    own = dataclasses.replace(
        settings.CONFIG.kafka,
        topic_delivery=f"delivery-{suffix}",
        topic_status=f"status-{suffix}",
        topic_receipts=f"receipts-{suffix}",
        topic_held=f"held-{suffix}",
        topic_suspended=f"suspended-{suffix}",
        topic_accepted=f"accepted-{suffix}",
        topic_money=f"money-{suffix}",
        topic_dead_letter=f"dead-{suffix}",
        consumer_group_prefix=suffix,
        overflow_lanes=overflow_lanes,
        consumer_session_timeout=6000,  # the embedded broker gathers a group's members for 3 seconds
    )
    return dataclasses.replace(settings.CONFIG, kafka=own, worker=dataclasses.replace(settings.CONFIG.worker, **worker))


def requested(**changes: Any) -> events.DeliveryRequested:
    """A message to deliver, valid for an hour."""
    now = time.time_ns() // 1_000_000
    fields: dict[str, Any] = {
        "message_id": ids.to_text(ids.new_id()),
        "customer_id": "CUSTOMER",
        "accepted_at": now,
        "expires_at": now + 3_600_000,
        "operator": "scripted",
        "to": "+989121234567",
        "sender": "Shop",
        "text": "Hello",
        "encoding": "gsm7",
        "segments": 1,
        "cost": 100,
        "segments_per_second": 1000,
    }
    return events.DeliveryRequested(**(fields | changes))


def produce(config: Config, values: Iterable[tuple[int, events.DeliveryRequested | bytes]]) -> None:
    """Write `(partition, event)` pairs to the delivery lanes, each to its priority's."""
    lanes = config.kafka.delivery_lanes
    producer = kafka.producer(config.kafka, client_id="test")
    for partition, event in values:
        value = event if isinstance(event, bytes) else events.encode(event)
        topic = config.kafka.topic_delivery if isinstance(event, bytes) else lanes[event.priority]
        producer.produce(topic, value, b"key", partition)
    assert producer.flush(WAIT_SECONDS) == 0


def read_all(config: Config, topic: str) -> list[Message]:
    """Everything that stands in a topic now."""
    consumer = kafka.consumer(config.kafka, process="test-reader")
    try:
        consumer.list_topics(topic, timeout=WAIT_SECONDS)  # it may be the first that asks for it
        partitions = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)]
        count = sum(consumer.get_watermark_offsets(partition, timeout=WAIT_SECONDS)[1] for partition in partitions)
        consumer.assign(partitions)
        found: list[Message] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while len(found) < count and time.monotonic() < deadline:
            found += [message for message in consumer.consume(count - len(found), 0.1) if message.error() is None]
        assert len(found) == count
        return found
    finally:
        consumer.close()


def read_statuses(config: Config) -> list[events.StatusChanged]:
    """What became of the messages; their tries are not among it."""
    return [event for event in _status_events(config) if event.status != "queued"]


def read_tries(config: Config) -> list[events.StatusChanged]:
    """The tries after which messages were put off."""
    return [event for event in _status_events(config) if event.status == "queued"]


def _status_events(config: Config) -> list[events.StatusChanged]:
    decoded = [events.decode_status(message.value() or b"") for message in read_all(config, config.kafka.topic_status)]
    return [event for event in decoded if isinstance(event, events.StatusChanged)]


def read_held(config: Config) -> list[events.MessageHeld]:
    return [events.decode_held(message.value() or b"") for message in read_all(config, config.kafka.topic_held)]


def wait_until(condition: Callable[[], bool], *, timeout: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for has not happened"
        time.sleep(0.01)


class DirectRoutes:
    """Every message by the operator that it was accepted for."""

    def choose(self, message: events.DeliveryRequested) -> tuple[str, ...]:
        return (message.operator,)


class Suspended:
    """The suspended customers: assign another set to `customers`."""

    def __init__(self, *customers: str) -> None:
        self.customers = frozenset(customers)


class ScriptedOperator:
    """Answers as `answer` says; counts what it was given and what it took, by message id."""

    def __init__(self, answer: Submit | None = None, *, name: str = "scripted", limits: Limits = WIDE) -> None:
        self.name = name
        self.limits = limits
        self.is_connected = True
        self._answer = answer
        self.submits: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()

    async def start(self, receipts: ReceiptSink) -> None:
        self.receipts = receipts

    async def submit(self, message: events.DeliveryRequested) -> Submission:
        self.submits[message.message_id] += 1
        operator_message_id = await self._answer(message) if self._answer else f"op-{message.message_id}"
        self.accepted[message.message_id] += 1
        return Submission(operator_message_id)

    def read_receipts(self, document: object) -> list[ReadReceipt]:
        raise NotImplementedError

    def read_unread(self, unread: events.ReceiptUnread) -> list[ReadReceipt]:
        raise NotImplementedError

    async def close(self) -> None:
        pass


class RunningWorker:
    """A DeliveryWorker in a thread: `with RunningWorker(...)` starts it, and stops it cleanly at the end."""

    def __init__(
        self,
        config: Config,
        *operators: ScriptedOperator,
        routes: Routes | None = None,
        suspensions: Suspended | None = None,
        producer: Producer | None = None,
    ) -> None:
        self.process = Process("deliver")
        self.error: BaseException | None = None
        self._config = config
        self._operators = {operator.name: operator for operator in operators}
        self._routes = routes or DirectRoutes()
        self._suspensions = suspensions or Suspended()
        self._producer = producer or kafka.producer(config.kafka, client_id="test-worker")
        self._thread = threading.Thread(target=self._main, name="delivery-worker")
        self._made = threading.Event()  # `worker` is there, or the thread has failed

    def __enter__(self) -> RunningWorker:
        self._thread.start()
        self._made.wait(WAIT_SECONDS)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to stop and wait until it has. What it failed with stands in `error`."""
        self.process.stop()
        self.wait()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()

    def call(self, callback: Callable[[], object]) -> None:
        """Call it in the worker's loop."""
        self._loop.call_soon_threadsafe(callback)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self.error = error
        finally:
            self._made.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.worker = DeliveryWorker(
            self.process,
            producer=self._producer,
            operators=self._operators,
            routes=self._routes,
            suspensions=self._suspensions,
            config=self._config,
        )
        self._made.set()
        await self.worker.run()


def message_ids(work: Work) -> set[str]:
    return {event.message_id for _, event in work if isinstance(event, events.DeliveryRequested)}


def assert_each_once(config: Config, work: Work, *operators: ScriptedOperator) -> None:
    accepted: Counter[str] = sum((operator.accepted for operator in operators), Counter())
    assert accepted == Counter(message_ids(work))
    assert Counter(event.message_id for event in read_statuses(config)) == Counter(message_ids(work))
