"""Retries: after which delay, and on which topic."""

from __future__ import annotations

import random

from apps.sms import events
from apps.sms.delivery.jobs import Job
from smsgateway.config.delivery import Worker
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka


def backoff(delays: int, *, config: Worker, retry_after: float | None = None) -> float:
    """Seconds to wait, for the `delays`-th time (from 1): doubling up to the cap, with jitter of half of it.

    Jitter spreads the retries of messages that failed together. An operator's own `retry_after` is a lower bound,
    within the cap.
    """
    delay = min(config.retry_cap, config.retry_base * 2.0 ** min(delays - 1, 30))
    jittered = delay * random.uniform(0.5, 1.0)
    return max(jittered, min(retry_after or 0.0, config.retry_cap))


def retry_record(job: Job, *, delay: float, config: Kafka) -> kafka.Record:
    """The record of the message for a retry topic, in the partition that the same worker reads.

    There are topics for short, medium and long delays. In each, messages are nearly in the order in which they are due:
    a waiting message does not hold up another that is due long before it.
    """
    topic = next(topic for longest, topic in config.retry_topics if delay <= longest)
    message = job.put_off(delay)
    return kafka.Record(
        topic,
        message.customer_id.encode(),
        events.encode(message),
        kafka.request_headers(message.request_id),
        job.place.partition.number,
    )
