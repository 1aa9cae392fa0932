"""One submit to an operator, counted and timed."""

from __future__ import annotations

import time

import structlog

from apps.sms import events
from apps.sms.operators.base import Operator, PermanentSubmitError, Submission, TransientSubmitError
from smsgateway import metrics, tracing

log = structlog.get_logger(__name__)


async def submit_once(operator: Operator, message: events.DeliveryRequested) -> Submission:
    """Submit. Raises PermanentSubmitError or TransientSubmitError, whatever goes wrong."""
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
            told = {"operator": operator.name, "outcome": outcome, "request_id": message.request_id}
            tracing.span("submit", [message.message_id], since=since, attributes=told)
        metrics.DELIVERY_SUBMITS.labels(operator.name, outcome).inc()
        metrics.DELIVERY_SUBMIT_DURATION.labels(operator.name).observe(time.perf_counter() - started)
    return submission
