"""The delivery worker: reads deliveries, keeps each customer's pace, submits to operators, tells what came of it.

One event loop does it all: hundreds of submits are in flight without a thread each. A message is done when its status
event is confirmed by Kafka; only then its offset counts as done.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, Message, Producer

from apps.sms import events, statuses
from apps.sms.delivery.publisher import Publisher
from apps.sms.delivery.queues import CustomerQueues, Job, Partition, Place
from apps.sms.delivery.retrying import backoff
from apps.sms.delivery.source import DeliverySource
from apps.sms.operators.base import Operator, PermanentSubmitError, Receipt, Submission, Throttled, TransientSubmitError
from smsgateway import ids, kafka, metrics
from smsgateway.config import Config
from smsgateway.process import Process

log = structlog.get_logger(__name__)

_NONE = Submission("")
_COMMIT_SECONDS = 1.0
_HOUSEKEEPING_SECONDS = 60.0


class DeliveryWorker:
    """One worker process. `run` returns when `process` is asked to stop and everything in flight has ended."""

    def __init__(
        self,
        process: Process,
        *,
        consumer: Consumer,
        producer: Producer,
        operators: Mapping[str, Operator],
        config: Config,
    ) -> None:
        self._process = process
        self._consumer = consumer
        self._producer = producer
        self._operators = operators
        self._config = config
        self._queues = CustomerQueues(capacity=config.worker.queue_size)
        self._in_flight: dict[asyncio.Task[None], Partition] = {}  # and the Kafka partition each belongs to
        self._leaving: set[Partition] = set()
        self._slots = asyncio.Semaphore(config.worker.concurrency)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Raises what ended a part of the worker: then the process must end too, and be replaced."""
        loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[None] = loop.create_future()

        def stop() -> None:
            with contextlib.suppress(RuntimeError):  # a second signal, when the loop is closed already
                loop.call_soon_threadsafe(self._end)

        self._process.on_stop(stop)
        self._publisher = Publisher(self._producer)
        self._source = DeliverySource(self._consumer, lanes=self._config.kafka.delivery_lanes, release=self._release)
        for name, operator in self._operators.items():
            await operator.start(functools.partial(self._keep_receipt, name))
        await self._source.start()
        parts = [asyncio.create_task(part()) for part in (self._read, self._dispatch, self._commit, self._tidy)]
        # A part that ends has failed: stop in good order, then fail.
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

    def _end(self, error: BaseException | None = None) -> None:
        if self._ending.done():
            return
        if error is None:
            self._ending.set_result(None)
        else:
            self._ending.set_exception(error)

    async def _read(self) -> None:
        while True:
            self._process.beat()
            for message in await self._source.read(full=self._queues.full_partitions()):
                self._take(message)
            self._wake.set()
            metrics.DELIVERY_QUEUED.set(len(self._queues))
            metrics.DELIVERY_IN_FLIGHT.set(len(self._in_flight))
            metrics.DELIVERY_PAUSED.set(self._source.paused_count)

    def _take(self, message: Message) -> None:
        place = Place(Partition(str(message.topic()), kafka.partition_of(message)), kafka.offset_of(message))
        try:
            job = Job(events.decode_delivery(message.value() or b""), place)
        except events.UnreadableEvent as error:
            metrics.EVENTS_UNREADABLE.labels(message.topic()).inc()
            log.error("dead_letters", count=1, reason=str(error))
            self._launch(self._bury(message, place, reason=f"unreadable: {error}"), place.partition)
        else:
            self._queues.put(job, now=time.monotonic())

    async def _bury(self, message: Message, place: Place, *, reason: str) -> None:
        await self._publisher.publish(kafka.dead_letter(self._config.kafka.topic_dead_letter, message, reason))
        self._source.finish(place)

    async def _dispatch(self) -> None:
        while True:
            await self._slots.acquire()
            job = await self._next()
            task = self._launch(self._deliver(job), job.place.partition)
            task.add_done_callback(lambda _: self._slots.release())

    async def _next(self) -> Job:
        while True:
            self._wake.clear()
            job, wait = self._queues.next(now=time.monotonic())
            if job is not None:
                return job
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == float("inf") else wait):
                    await self._wake.wait()

    def _launch(self, work: Coroutine[Any, Any, None], partition: Partition) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._in_flight[task] = partition
        task.add_done_callback(self._landed)
        return task

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            # The message stays undone: going on would hold up its partition for good.
            self._end(error)

    async def _deliver(self, job: Job) -> None:
        """Submit once. Publish what came of it, or queue the message again."""
        if job.is_expired:
            await self._finish(job, statuses.EXPIRED, error="validity_ended")
            return
        operator = self._operators.get(job.message.operator)
        if operator is None:
            await self._finish(job, statuses.FAILED, error="no_such_operator")
            return
        try:
            submission = await _submit(operator, job.message)
        except Throttled as error:
            # The operator has not tried the message: only its validity ends that.
            await self._try_again(job, error)
        except TransientSubmitError as error:
            job.attempts += 1
            await self._try_again(job, error)
        except PermanentSubmitError as error:
            job.attempts += 1
            await self._finish(job, statuses.REJECTED, error=error.code)
        else:
            job.attempts += 1
            await self._finish(job, statuses.SUBMITTED, submission=submission)

    async def _try_again(self, job: Job, error: TransientSubmitError) -> None:
        if job.attempts > self._config.worker.max_retries:
            await self._finish(job, statuses.FAILED, error=error.code)
        elif job.place.partition not in self._leaving:
            metrics.DELIVERY_RETRIES.labels(job.message.operator, error.code).inc()
            job.delays += 1
            delay = backoff(job.delays, config=self._config.worker, retry_after=error.retry_after)
            self._queues.retry(job, now=time.monotonic(), delay=delay)
            self._wake.set()

    async def _finish(self, job: Job, status: str, *, error: str = "", submission: Submission = _NONE) -> None:
        message = job.message
        event = events.StatusChanged(
            message_id=message.message_id,
            customer_id=message.customer_id,
            status=status,
            at=time.time_ns() // 1_000_000,
            operator=message.operator,
            operator_message_id=submission.operator_message_id,
            part_ids=submission.part_ids,
            error=error,
            attempt=job.attempts,
            segments=message.segments,
            cost=message.cost,
        )
        headers = kafka.request_headers(message.request_id)
        topic = self._config.kafka.topic_status
        record = kafka.Record(topic, message.customer_id.encode(), events.encode(event), headers)
        await self._publisher.publish(record)
        self._source.finish(job.place)
        log.debug("delivery_ended", message_id=message.message_id, status=status, request_id=message.request_id)

    async def _keep_receipt(self, operator: str, receipt: Receipt) -> None:
        """Return when Kafka has a receipt that came over the operator's own connection."""
        event = events.ReceiptReceived(
            operator=operator,
            operator_message_id=receipt.operator_message_id,
            reference=ids.to_text(receipt.reference) if receipt.reference else "",
            status=receipt.status,
            error=receipt.error,
            at=receipt.at,
        )
        topic = self._config.kafka.topic_receipts
        await self._publisher.publish(
            kafka.Record(topic, receipt.operator_message_id.encode(), events.encode(event), [])
        )

    async def _release(self, partitions: set[Partition]) -> None:
        """Before partitions are given away: forget what waits of them, end what is in flight."""
        self._leaving |= partitions
        self._queues.drop_partitions(partitions)
        await self._drain({task for task, partition in self._in_flight.items() if partition in partitions})
        self._leaving -= partitions

    async def _drain(self, tasks: set[asyncio.Task[None]]) -> None:
        """Wait for submits in flight, so long as the drain timeout allows; the rest is submitted again by somebody."""
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._config.worker.drain_timeout)
        if late:
            log.warning("drain_timeout", left_in_flight=len(late))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await self._source.commit()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            self._queues.forget_idle(now=time.monotonic())


async def _submit(operator: Operator, message: events.DeliveryRequested) -> Submission:
    """Submit once, counted and timed. Raises PermanentSubmitError or TransientSubmitError."""
    outcome = "abandoned"
    started = time.perf_counter()
    try:
        submission = await operator.submit(message)
        outcome = "accepted"
    except PermanentSubmitError:
        outcome = "rejected"
        raise
    except TransientSubmitError as error:
        outcome = error.code
        raise
    except Exception:
        # A fault of ours must not hold up the partition: the tries end, and the message fails and is refunded.
        log.exception("submit_failed_unexpectedly", message_id=message.message_id)
        outcome = "internal_error"
        raise TransientSubmitError(outcome) from None
    finally:
        metrics.DELIVERY_SUBMITS.labels(operator.name, outcome).inc()
        metrics.DELIVERY_SUBMIT_DURATION.labels(operator.name).observe(time.perf_counter() - started)
    return submission
