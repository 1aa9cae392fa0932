"""One operator's connection in a worker: its queues, its own pace and window, its circuit breaker."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Final

import structlog

from apps.sms.delivery.breaker import CircuitBreaker
from apps.sms.delivery.jobs import Job
from apps.sms.delivery.pacing import Paces, TokenBucket
from apps.sms.delivery.queues import CustomerQueues
from apps.sms.operators.base import Operator
from smsgateway import metrics
from smsgateway.config.delivery import Worker

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 0.1  # how often a connection that is down is checked
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0


class Connection:
    """Takes jobs with `put` and hands them to `submit`, one by one, as fast as the operator's contract and every
    customer's pace allow. While the operator is down, jobs go to `give_up` at the same pace, to wait elsewhere.
    `on_down` is called when the operator goes down, so that waiting jobs may take another route."""

    def __init__(
        self,
        operator: Operator,
        paces: Paces,
        *,
        config: Worker,
        submit: Callable[[Connection, Job], None],
        give_up: Callable[[Job], None],
        on_down: Callable[[Connection], None],
    ) -> None:
        self.operator = operator
        self.name = operator.name
        self.queues = CustomerQueues(paces, capacity=config.queue_size)
        limits = operator.limits
        self._bucket = None
        if limits.segments_per_second:
            self._bucket = TokenBucket(rate=limits.segments_per_second, now=time.monotonic())
        self._breaker = CircuitBreaker(failures=config.breaker_failures, seconds=config.breaker_seconds)
        self._patience = config.outage_patience
        self._submit = submit
        self._give_up = give_up
        self._on_down = on_down
        self._window = asyncio.Semaphore(limits.in_flight)
        # Held until the commit: it bounds how many messages a hard kill may send twice.
        self._open = asyncio.Semaphore(config.concurrency)
        self._wake = asyncio.Event()
        self._down_since: float | None = None
        self._paused_until = 0.0
        self._pauses = 0

    def put(self, job: Job) -> None:
        self.queues.put(job)
        self._wake.set()

    def put_back(self, job: Job) -> None:
        """Queue a job that was handed out and not submitted, before all others of its customer and priority."""
        self.queues.put_back(job)
        self._wake.set()

    def is_usable(self) -> bool:
        """True if a job put here now has a chance: the operator is up, or the job would be the breaker's probe."""
        return self.operator.is_connected and (self._breaker.is_closed or not self._breaker.wait(now=time.monotonic()))

    def answered(self) -> None:
        """Note that the operator accepted or refused a message: it works."""
        self._window.release()
        self._pauses = 0
        self._operator_works()

    def throttled(self, retry_after: float | None) -> None:
        """Pause, longer each time: the operator takes no more at this pace."""
        self._window.release()
        now = time.monotonic()
        if now >= self._paused_until:
            self._pauses += 1
            longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._pauses - 1, 30))
            pause = max(longest * random.uniform(0.5, 1.0), min(retry_after or 0.0, _LONGEST_PAUSE))
            self._paused_until = now + pause
        metrics.DELIVERY_THROTTLED.labels(self.name).inc()
        self._operator_works()

    def declined(self) -> None:
        """Note that the operator did not take a message, for a reason of that message alone. Pace and breaker stay."""
        self._window.release()
        if self._breaker.declined():
            self._closed()
        self._wake.set()

    def failed(self, *, number: str | None) -> None:
        """Note that a submit was not answered, or not sensibly. `number`: the recipient, if it may be the reason."""
        self._window.release()
        if self._breaker.failed(now=time.monotonic(), number=number):
            log.error("circuit_opened", operator=self.name)
            metrics.DELIVERY_CIRCUIT_OPEN.labels(self.name).set(1)
            self._went_down()
        self._wake.set()

    def abandoned(self) -> None:
        """Note that a submit was cancelled before its answer."""
        self._window.release()
        self._breaker.abandoned()

    def committed(self) -> None:
        """Note that a job handed to `submit` is done and committed."""
        self._open.release()

    async def run(self) -> None:
        """Hand out jobs until cancelled."""
        while True:
            await self._open.acquire()
            await self._window.acquire()
            job = await self._next()
            self._breaker.submit_started()
            self._submit(self, job)

    async def _next(self) -> Job:
        while True:
            self._wake.clear()
            now = time.monotonic()
            wait = self._blocked(now)
            if not wait:
                job, wait = self.queues.next(now=now)
                if job is not None:
                    if self._bucket and not job.is_expired:
                        self._bucket.spend(job.message.segments)
                    return job
            elif self._down_since is not None and now - self._down_since >= self._patience:
                job, turn = self.queues.next(now=now)
                if job is not None:
                    self._give_up(job)
                    continue
                wait = min(wait, turn)
            elif self._down_since is not None:
                wait = min(wait, self._down_since + self._patience - now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == float("inf") else wait):
                    await self._wake.wait()

    def _blocked(self, now: float) -> float:
        """Seconds until something may be submitted; 0 if it may now."""
        if not self.operator.is_connected:
            if self._down_since is None:
                log.warning("operator_disconnected", operator=self.name)
                self._went_down()
            return _LOOK_SECONDS
        if wait := self._breaker.wait(now=now):
            return wait
        if self._breaker.is_closed and self._down_since is not None:
            log.info("operator_is_back", operator=self.name, seconds=round(now - self._down_since, 1))
            self._down_since = None
        if self._paused_until > now:
            return self._paused_until - now
        return self._bucket.wait(now=now) if self._bucket else 0.0

    def _operator_works(self) -> None:
        if self._breaker.succeeded():
            self._closed()
        self._wake.set()

    def _closed(self) -> None:
        log.info("circuit_closed", operator=self.name)
        metrics.DELIVERY_CIRCUIT_OPEN.labels(self.name).set(0)

    def _went_down(self) -> None:
        if self._down_since is None:
            self._down_since = time.monotonic()
        self._on_down(self)
