"""The outcome of each message: published to Kafka first, then marked as done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from apps.sms import events, statuses
from apps.sms.delivery.consumer import DeliverySource
from apps.sms.delivery.jobs import Job, Place
from apps.sms.delivery.publisher import Publisher
from apps.sms.delivery.retry import backoff, retry_record
from apps.sms.operators.base import Receipt, Submission
from apps.sms.operators.unread_receipts import unread_record
from smsgateway import ids, metrics
from smsgateway.config import Config
from smsgateway.kafka import client as kafka

log = structlog.get_logger(__name__)

_NONE: Final = Submission("")
# A message that waits for an operator that is down tries it at least this often.
_LONGEST_PARK: Final = 60.0


class Outcomes:
    """Publishes the outcomes of messages, and marks them as done when Kafka has confirmed that."""

    def __init__(self, publisher: Publisher, source: DeliverySource, *, config: Config) -> None:
        self._publisher = publisher
        self._source = source
        self._config = config

    async def finish(
        self,
        job: Job,
        status: str,
        *,
        operator: str,
        error: str = "",
        submission: Submission = _NONE,
        then: Callable[[], None] | None = None,
    ) -> None:
        """End the message with this status at this operator. `then` is called when that is committed."""
        record = self._status_record(job, status, operator=operator, error=error, submission=submission)
        await self._publish([record], job.place, then)
        message = job.message
        log.debug("delivery_ended", message_id=message.message_id, status=status, request_id=message.request_id)

    def _status_record(
        self, job: Job, status: str, *, operator: str, error: str = "", submission: Submission = _NONE
    ) -> kafka.Record:
        message = job.message
        event = events.StatusChanged(
            message_id=message.message_id,
            customer_id=message.customer_id,
            status=status,
            at=time.time_ns() // 1_000_000,
            operator=operator,
            operator_message_id=submission.operator_message_id,
            part_ids=submission.part_ids,
            speaking_part=submission.speaking_part,
            error=error,
            attempt=job.attempts,
            segments=message.segments,
            cost=message.cost,
        )
        headers = kafka.request_headers(message.request_id)
        topic = self._config.kafka.topic_status
        return kafka.Record(topic, message.customer_id.encode(), events.encode(event), headers)

    async def put_off(
        self,
        job: Job,
        *,
        operator: str,
        error: str,
        retry_after: float | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Retry the message later: the operator did not take it. The owner of its partition at that time submits it.

        A status event records the operator's answer. `then` as in `finish`.
        """
        job.delays += 1
        delay = backoff(job.delays, config=self._config.worker, retry_after=retry_after)
        tried = self._status_record(job, statuses.QUEUED, operator=operator, error=error)
        again = retry_record(job, delay=delay, config=self._config.kafka)
        await self._publish([tried, again], job.place, then)

    async def park(self, job: Job) -> None:
        """Put the message off until one of its routes may be up."""
        job.delays += 1
        delay = min(_LONGEST_PARK, backoff(job.delays, config=self._config.worker))
        await self._publish([retry_record(job, delay=delay, config=self._config.kafka)], job.place)

    def hold(self, job: Job) -> None:
        """Hold the message back while its customer is suspended: settlement keeps it."""
        message = job.message
        event = events.MessageHeld(
            message_id=message.message_id,
            customer_id=message.customer_id,
            at=time.time_ns() // 1_000_000,
            copy=message.copy,
            attempts=job.attempts,
            delays=job.delays,
            refused=job.refused,
        )
        headers = kafka.request_headers(message.request_id)
        topic = self._config.kafka.topic_held
        self.move(kafka.Record(topic, message.customer_id.encode(), events.encode(event), headers), job.place)
        metrics.HELD.labels("deliver").inc()
        log.debug("delivery_held", message_id=message.message_id, request_id=message.request_id)

    async def _publish(
        self, records: Sequence[kafka.Record], place: Place, then: Callable[[], None] | None = None
    ) -> None:
        """Publish the records in order, then mark the message as done."""
        try:
            for record in records:
                await self._publisher.publish(record)
        except BaseException:
            # Cancelled, because its partition was given up: no commit will follow.
            if then:
                then()
            raise
        self._source.finish(place, then)

    def move(self, record: kafka.Record, place: Place) -> None:
        """Publish the message elsewhere on Kafka, without waiting. It is done here when Kafka has confirmed that."""
        self._publisher.post(record, lambda: self._source.finish(place))

    async def moves_confirmed(self) -> None:
        """Return when Kafka has confirmed every move."""
        await self._publisher.posted()

    async def keep_receipt(self, operator: str, receipt: Receipt | events.ReceiptUnread) -> None:
        """Publish a receipt that came over the operator's own connection, or the dead letter of one that cannot be
        read. Returns when Kafka has confirmed it."""
        if isinstance(receipt, events.ReceiptUnread):
            await self._publisher.publish(unread_record(receipt, config=self._config.kafka))
            return
        event = events.ReceiptReceived(
            operator=operator,
            operator_message_id=receipt.operator_message_id,
            reference=ids.to_text(receipt.reference) if receipt.reference else "",
            status=receipt.status,
            error=receipt.error,
            at=receipt.at,
            state=receipt.state,
            tlvs=receipt.tlvs,
        )
        topic, key = self._config.kafka.topic_receipts, receipt.operator_message_id.encode()
        await self._publisher.publish(kafka.Record(topic, key, events.encode(event), []))
