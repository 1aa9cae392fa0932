"""One submit to an operator, and what follows from its answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from apps.sms import events, statuses
from apps.sms.delivery.connection import Connection
from apps.sms.delivery.jobs import Job
from apps.sms.delivery.outcomes import Outcomes
from apps.sms.operators.base import (
    Operator,
    PermanentSubmitError,
    QueueFull,
    Submission,
    Throttled,
    TransientSubmitError,
)
from smsgateway import metrics, tracing

log = structlog.get_logger(__name__)


class Submitter:
    """Submits messages, and acts on the operator's answer."""

    def __init__(
        self,
        outcomes: Outcomes,
        *,
        max_retries: int,
        is_suspended: Callable[[Job], bool],
        choose: Callable[[Job], Connection | None],
        put_back: Callable[[Connection, Job], None],
    ) -> None:
        """`choose` returns the connection to try next; `put_back` queues a message there that was not taken."""
        self._outcomes = outcomes
        self._max_retries = max_retries
        self._is_suspended = is_suspended
        self._choose = choose
        self._put_back = put_back

    async def submit(self, connection: Connection, job: Job) -> None:
        """Submit once. Then publish the outcome, retry later, or queue the message again at once.

        The connection may hand out another message when that is committed.
        """
        name, outcomes, then = connection.name, self._outcomes, connection.committed
        if job.is_expired:
            connection.abandoned()
            await outcomes.finish(job, statuses.EXPIRED, operator=name, error="validity_ended", then=then)
            return
        if self._is_suspended(job):
            connection.abandoned()
            then()
            outcomes.hold(job)
            return
        try:
            submission = await submit_once(connection.operator, job.message)
        except Throttled as error:
            # The operator has not tried the message: only its validity ends that.
            connection.throttled(error.retry_after)
            then()
            self._put_back(connection, job)
        except QueueFull as error:
            connection.declined()
            await self._retry_later(connection, job, error)
        except TransientSubmitError as error:
            if error.concerns == "message":
                connection.declined()
            else:
                connection.failed(number=job.message.to if error.concerns == "unclear" else None)
            job.attempts += 1
            if job.attempts > self._max_retries:
                await outcomes.finish(job, statuses.FAILED, operator=name, error=error.code, then=then)
            else:
                await self._retry_later(connection, job, error)
        except PermanentSubmitError as error:
            connection.answered()
            job.attempts += 1
            job.refused = (*job.refused, name)
            if (other := self._choose(job)) is not None:
                metrics.DELIVERY_REROUTED.labels(name).inc()
                then()
                self._put_back(other, job)
            else:
                await outcomes.finish(job, statuses.REJECTED, operator=name, error=error.code, then=then)
        except BaseException:
            connection.abandoned()
            then()
            raise
        else:
            connection.answered()
            job.attempts += 1
            await outcomes.finish(job, statuses.SUBMITTED, operator=name, submission=submission, then=then)

    async def _retry_later(self, connection: Connection, job: Job, error: TransientSubmitError) -> None:
        name, then = connection.name, connection.committed
        metrics.DELIVERY_RETRIES.labels(name, error.code).inc()
        await self._outcomes.put_off(job, operator=name, error=error.code, retry_after=error.retry_after, then=then)


async def submit_once(operator: Operator, message: events.DeliveryRequested) -> Submission:
    """Submit, counted and timed. Raises PermanentSubmitError or TransientSubmitError and nothing else."""
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
        if tracing.is_on:
            since = time.time_ns() - int((time.perf_counter() - started) * 1e9)
            details = {"operator": operator.name, "outcome": outcome, "request_id": message.request_id}
            tracing.span("submit", [message.message_id], since=since, attributes=details)
        metrics.DELIVERY_SUBMITS.labels(operator.name, outcome).inc()
        metrics.DELIVERY_SUBMIT_DURATION.labels(operator.name).observe(time.perf_counter() - started)
    return submission
