"""The delivery worker: reads deliveries, keeps each customer's pace, submits to operators, publishes the outcomes.

It runs in one event loop: hundreds of submits are in flight without a thread each. A message is done when Kafka has
confirmed its status event, or its copy on a retry topic; only then its offset counts as done.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Coroutine, Mapping, Set
from typing import Any, Protocol

import structlog
from confluent_kafka import Message, Producer

from apps.sms import events, statuses
from apps.sms.delivery.connection import Connection
from apps.sms.delivery.consumer import DeliverySource
from apps.sms.delivery.delayed import Delayed
from apps.sms.delivery.jobs import Job, Partition, Place
from apps.sms.delivery.outcomes import Outcomes
from apps.sms.delivery.overflow import OverflowLanes, overflow_record
from apps.sms.delivery.pacing import Paces
from apps.sms.delivery.publisher import Publisher
from apps.sms.delivery.submit import Submitter
from apps.sms.delivery.takeover import Takeovers, Turn
from apps.sms.operators.base import Operator
from apps.sms.suspension.follower import Nobody, Suspensions
from smsgateway import metrics
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.process import Process

log = structlog.get_logger(__name__)

_HOUSEKEEPING_SECONDS = 60.0


class Routes(Protocol):
    """Chooses the connections of a message."""

    def choose(self, message: events.DeliveryRequested) -> tuple[str, ...]:
        """Their names, in the order in which to try them."""
        ...


class DeliveryWorker:
    """One worker process. `run` returns when `process` is asked to stop and everything in flight has ended."""

    def __init__(
        self,
        process: Process,
        *,
        producer: Producer,
        operators: Mapping[str, Operator],
        routes: Routes,
        config: Config,
        suspensions: Suspensions = Nobody(),  # noqa: B008  # it has no state
    ) -> None:
        self._process = process
        self._producer = producer
        self._operators = operators
        self._routes = routes
        self._suspensions = suspensions
        self._suspended: Set[str] = frozenset()  # when last checked
        self._config = config
        self._paces = Paces()
        self._delayed = Delayed()
        self._delayed_changed = asyncio.Event()
        self._in_flight: dict[asyncio.Task[None], Partition] = {}  # and the Kafka partition each belongs to
        self._leaving: set[Partition] = set()
        self._takeovers = Takeovers(config.kafka)
        self._lanes = frozenset(config.kafka.delivery_lanes.values())
        self._overflow_topics = frozenset(config.kafka.overflow_topics + config.kafka.retired_overflow_topics)
        # By full queue: the overflow partitions whose last message was for it.
        self._full: dict[tuple[Connection, str, int], set[Partition]] = {}

    async def run(self) -> None:
        """Raises the error that ended a part of the worker: the process must end then, and be replaced."""
        loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[None] = loop.create_future()

        def stop() -> None:
            with contextlib.suppress(RuntimeError):  # a second signal, when the loop is closed already
                loop.call_soon_threadsafe(self._end)

        self._process.on_stop(stop)
        publisher = Publisher(self._producer)
        self._build(publisher)
        for name, operator in self._operators.items():
            await operator.start(functools.partial(self._outcomes.keep_receipt, name))
        await self._source.start()
        work: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._read,
            self._wake_delayed,
            self._tidy,
            publisher.broken,
        ]
        work += [connection.run for connection in self._connections.values()]
        parts = [asyncio.create_task(part()) for part in work]
        # A part that ends has failed: stop in good order, then raise its error.
        await asyncio.wait([self._ending, *parts], return_when=asyncio.FIRST_COMPLETED)
        for part in (self._ending, *parts):
            part.cancel()
        ended = await asyncio.gather(self._ending, *parts, return_exceptions=True)
        await self._drain(set(self._in_flight))
        await self._source.close()
        for operator in self._operators.values():
            await operator.close()
        for result in ended:
            if isinstance(result, Exception):
                raise result

    def _build(self, publisher: Publisher) -> None:
        """Make the parts that need a running event loop."""
        self._connections = {
            name: Connection(
                operator,
                self._paces,
                config=self._config.worker,
                submit=self._submit,
                give_up=self._park,
                on_down=self._reroute,
            )
            for name, operator in self._operators.items()
        }
        self._source = DeliverySource(self._config.kafka, assigned=self._assigned, release=self._release)
        self._overflow = OverflowLanes(inherited=self._source.partitions.inherited)
        self._outcomes = Outcomes(publisher, self._source, config=self._config)
        self._submitter = Submitter(
            self._outcomes,
            max_retries=self._config.worker.max_retries,
            is_suspended=self._is_suspended,
            choose=self._choose,
            put_back=self._put_back,
        )

    def _end(self, error: BaseException | None = None) -> None:
        if self._ending.done():
            return
        if error is None:
            self._ending.set_result(None)
        else:
            self._ending.set_exception(error)

    async def _read(self) -> None:
        partitions = self._source.partitions
        while True:
            self._process.beat()
            self._hold_suspended()
            for message in await self._source.read(full=self._full_partitions()):
                self._take(message)
            unread = partitions.unread_lanes()
            for job, message in self._takeovers.due(position=partitions.position, unread=unread, now=time.monotonic()):
                self._admit(job, message)
            self._overflow.set_metrics(unread)
            metrics.DELIVERY_QUEUED.set(sum(len(connection.queues) for connection in self._connections.values()))
            metrics.DELIVERY_DELAYED.set(len(self._delayed))
            metrics.DELIVERY_IN_FLIGHT.set(len(self._in_flight))
            metrics.DELIVERY_PAUSED.set(self._source.paused_count)
            metrics.DELIVERY_UNCOMMITTED.set(self._source.uncommitted_count)

    def _take(self, message: Message) -> None:
        place = Place(Partition(str(message.topic()), kafka.partition_of(message)), kafka.offset_of(message))
        try:
            job = Job(events.decode_delivery(message.value() or b""), place)
        except events.UnreadableEvent as error:
            metrics.EVENTS_UNREADABLE.labels(message.topic()).inc()
            log.error("dead_letters", count=1, reason=str(error))
            letter = kafka.dead_letter(self._config.kafka.topic_dead_letter, message, f"unreadable: {error}")
            self._outcomes.move(letter, place)
            return
        if self._source.partitions.lost_offsets.is_done(place, job.message):
            self._source.finish(place)
            return
        if job.message.not_before > time.time() * 1000 and not self._is_suspended(job):
            self._delayed.put(job)
            self._delayed_changed.set()
            return
        match self._takeovers.turn(job, message):
            case Turn.AS_USUAL:
                self._admit(job, message)
            case Turn.AT_ONCE:
                self._queue(job)

    def _admit(self, job: Job, message: Message) -> None:
        """Queue a message that was read, or move it to an overflow lane if its queue is full: those behind it in the
        partition do not wait."""
        customer_id, topic = job.message.customer_id, job.place.partition.topic
        if is_back := topic in self._overflow_topics:
            self._overflow.left(job, is_inherited=self._source.partitions.is_inherited(job.place))
        connection = self._route(job)
        if connection is None:
            return
        is_full = connection.queues.is_full(customer_id, job.rank)
        if is_back:
            if is_full:
                self._full.setdefault((connection, customer_id, job.rank), set()).add(job.place.partition)
        elif is_full or (topic in self._lanes and self._has_overflowed(job)):
            lane = self._overflow.entered(job, self._source.partitions.overflow_topics)
            metrics.DELIVERY_OVERFLOWED.inc()
            self._outcomes.move(overflow_record(message, lane), job.place)
            return
        connection.put(job)

    def _has_overflowed(self, job: Job) -> bool:
        """True if messages of its queue are on an overflow lane: it must not overtake them."""
        return self._overflow.holds(
            job,
            is_waiting=lambda: any(
                connection.queues.has(job.message.customer_id, job.rank) for connection in self._connections.values()
            ),
        )

    def _queue(self, job: Job) -> None:
        """Queue a message at the connection of its route, full or not."""
        if connection := self._route(job):
            connection.put(job)

    def _route(self, job: Job) -> Connection | None:
        """The connection to queue the message at. None if it has no route left, or its customer is suspended: then this
        ends or holds it."""
        if self._is_suspended(job):
            self._outcomes.hold(job)
            return None
        if connection := self._choose(job):
            return connection
        if job.refused:
            end = self._outcomes.finish(job, statuses.REJECTED, operator=job.refused[-1], error="no_route_left")
        else:
            end = self._outcomes.finish(job, statuses.FAILED, operator=job.message.operator, error="no_such_operator")
        self._launch(end, job.place.partition)
        return None

    def _choose(self, job: Job) -> Connection | None:
        """The first of its routes that is up, or the first of all if none is up. None if it has no route left."""
        names = [name for name in self._routes.choose(job.message) if name not in job.refused]
        connections = [self._connections[name] for name in names if name in self._connections]
        usable = (connection for connection in connections if connection.is_usable())
        return next(usable, connections[0] if connections else None)

    def _reroute(self, down: Connection) -> None:
        """A connection went down: move its waiting messages to their other routes."""
        for job in down.queues.take_all():
            if connection := self._route(job):
                if connection is not down:
                    metrics.DELIVERY_REROUTED.labels(down.name).inc()
                connection.put(job)

    def _is_suspended(self, job: Job) -> bool:
        """True if the message must be held. Not if it has expired: it ends then, and is refunded."""
        return job.message.customer_id in self._suspensions.customers and not job.is_expired

    def _hold_suspended(self) -> None:
        """Hold the waiting messages of customers that were suspended since the last call: `_route` does it."""
        now = self._suspensions.customers
        if now is self._suspended:
            return
        new, self._suspended = now - self._suspended, now
        for connection in self._connections.values():
            for job in connection.queues.take(new):
                self._queue(job)
        for job in self._delayed.take(new):
            self._queue(job)

    async def _wake_delayed(self) -> None:
        while True:
            self._delayed_changed.clear()
            for job in self._delayed.due():
                self._queue(job)
            wait = self._delayed.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == float("inf") else wait):
                    await self._delayed_changed.wait()

    def _full_partitions(self) -> set[Partition]:
        """Partitions with enough messages in memory."""
        for (connection, customer_id, rank), lanes in list(self._full.items()):
            # When a queue's last message on a lane was read, the lane goes on: messages of other queues follow.
            lanes -= {lane for lane in lanes if not self._overflow.may_bring(lane, customer_id, rank)}
            if not lanes or connection.queues.is_half_empty(customer_id, rank):
                del self._full[connection, customer_id, rank]
        return self._delayed.full_partitions().union(self._takeovers.held(), *self._full.values())

    def _submit(self, connection: Connection, job: Job) -> None:
        self._launch(self._submitter.submit(connection, job), job.place.partition)

    def _park(self, job: Job) -> None:
        """Put a message off whose routes are all down: it waits on a retry topic, and spends no try."""
        if self._is_suspended(job):
            self._outcomes.hold(job)
            return
        if job.is_expired:
            end = self._outcomes.finish(job, statuses.EXPIRED, operator=job.message.operator, error="validity_ended")
        else:
            metrics.DELIVERY_PARKED.labels(job.message.operator).inc()
            end = self._outcomes.park(job)
        self._launch(end, job.place.partition)

    def _launch(self, work: Coroutine[Any, Any, None], partition: Partition) -> None:
        task = asyncio.create_task(work)
        self._in_flight[task] = partition
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            # The message would stay unfinished, and hold up its partition forever.
            self._end(error)

    def _put_back(self, connection: Connection, job: Job) -> None:
        """Queue a message that the operator did not take. If its partition leaves, its next owner reads it again."""
        if job.place.partition not in self._leaving:
            connection.put_back(job)

    def _assigned(self, numbers: set[int]) -> None:
        now, unread = time.monotonic(), self._source.partitions.unread_lanes()
        self._paces.assigned(numbers, now=now)
        for number in numbers:
            lanes = {lane for lane in unread if lane.number == number}
            self._takeovers.assigned(number, self._source.partitions.known_ends(number), lanes, now=now)

    async def _release(self, partitions: set[Partition]) -> None:
        """Before partitions are given up: forget their waiting messages, end their submits in flight."""
        self._leaving |= partitions
        for connection in self._connections.values():
            connection.queues.drop_partitions(partitions)
        self._delayed.drop_partitions(partitions)
        numbers = {partition.number for partition in partitions}
        self._paces.given_up(numbers)
        for full in self._full.values():
            full -= partitions
        self._overflow.given_up(numbers)
        self._takeovers.given_up(numbers)
        await self._drain({task for task, partition in self._in_flight.items() if partition in partitions})
        self._leaving -= partitions

    async def _drain(self, tasks: set[asyncio.Task[None]]) -> None:
        """Wait for submits in flight until the drain timeout. The next owner submits the rest again."""
        tasks = {*tasks, asyncio.create_task(self._outcomes.moves_confirmed())}
        _, late = await asyncio.wait(tasks, timeout=self._config.worker.drain_timeout)
        if late:
            log.warning("drain_timeout", left_in_flight=len(late))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            for connection in self._connections.values():
                connection.queues.forget_idle()
            self._paces.forget_idle(now=time.monotonic())
            await self._source.find_missing_lanes()
