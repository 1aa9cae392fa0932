"""How many messages a customer may hand in: a sliding minute, by the library `limits`.

Headers as in draft-ietf-httpapi-ratelimit-headers. The counts are in the memory of each process, or in Redis for all of
them (`REDIS_URL`). When Redis does not answer, requests are let through and counted: a limit guards against a caller's
mistake, and must not become an outage of its own.
"""

from __future__ import annotations

import functools
import math
import time
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.strategies import SlidingWindowCounterRateLimiter

from apps.customers.allowance import WINDOW_SECONDS, Allowance
from apps.customers.errors import MoreThanLimit, RateLimited
from apps.customers.own_limits import OWN_LIMITS
from apps.customers.rate_limit_storage import CountingStorage, ProcessStorage, SharedStorage
from smsgateway.metrics import RATE_LIMIT_UNCHECKED

log = structlog.get_logger(__name__)

_REDIS_SECONDS: Final = 0.2
_REDIS_REST_SECONDS: Final = 2.0
# Redis counts in milliseconds.
_CLOCK_SECONDS: Final = 0.01


class RateLimiter:
    """Counts messages by customer in one store."""

    def __init__(self, storage: CountingStorage) -> None:
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._resting_until = 0.0

    def take(self, *, customer_id: UUID, messages: int, limit: int) -> Allowance | None:
        """Take from the customer's allowance. None if the store does not answer.

        Raises RateLimited, or MoreThanLimit if the limit is too low for so many at any time.
        """
        if messages > limit:
            raise MoreThanLimit(messages=messages, limit=limit)
        if self._rests():
            return None
        window = RateLimitItemPerMinute(limit)
        try:
            taken = self._limiter.hit(window, customer_id.hex, cost=messages)
            reset_at, remaining = self._limiter.get_window_stats(window, customer_id.hex)
            wait = 0 if taken else self._wait(window, customer_id, messages)
        except StorageError as error:
            self._rest(error)
            return None
        allowance = Allowance(limit, min(limit, remaining), max(1, math.ceil(reset_at - time.time())))
        if not taken:
            detail = f"{remaining} messages are left of this minute's {limit}; this request has {messages}."
            raise RateLimited(detail, allowance=allowance, retry_after=wait)
        return allowance

    def give_back(self, *, customer_id: UUID, messages: int, allowance: Allowance) -> Allowance:
        """Undo a `take` whose messages were not new; the allowance as it is then."""
        if not self._rests():
            window = RateLimitItemPerMinute(allowance.limit)
            try:
                self._storage.give_back(window.key_for(customer_id.hex), window.get_expiry(), messages)
            except StorageError as error:
                self._rest(error)
        return allowance._replace(remaining=min(allowance.limit, allowance.remaining + messages))

    def _wait(self, window: RateLimitItemPerMinute, customer_id: UUID, messages: int) -> int:
        counts = self._storage.get_sliding_window(window.key_for(customer_id.hex), window.get_expiry())
        return seconds_until(messages, limit=window.amount, counts=counts)

    def _rests(self) -> bool:
        rests = time.monotonic() < self._resting_until
        if rests:
            RATE_LIMIT_UNCHECKED.inc()
        return rests

    def _rest(self, error: StorageError) -> None:
        RATE_LIMIT_UNCHECKED.inc()
        self._resting_until = time.monotonic() + _REDIS_REST_SECONDS
        log.error("rate_limits_unchecked", away="redis", error=str(error.storage_error))


def seconds_until(messages: int, *, limit: int, counts: tuple[int, float, int, float]) -> int:
    """Whole seconds, at least 1, after which so many (`limit` at most) pass if nothing else is taken meanwhile.

    `counts`: the window before, the seconds until it is over, the current one, the seconds until that is over. The
    window before counts in proportion to the seconds that are left of it, rounded down.
    """
    before, before_left, current, current_left = counts
    room = limit - current - messages
    if room >= 0:
        seconds = _until_at_most(room, before, before_left)
    else:  # not until the current window is the one before
        seconds = current_left - WINDOW_SECONDS + _until_at_most(limit - messages, current, WINDOW_SECONDS)
    return max(1, math.floor(seconds + _CLOCK_SECONDS) + 1)


def _until_at_most(count: int, before: int, left: float) -> float:
    """Seconds until a window that has `left` seconds, and had `before` messages, counts as `count` at most."""
    return max(0.0, left - WINDOW_SECONDS * (count + 1) / before) if before else 0.0


def messages_take(*, customer_id: UUID, messages: int) -> Allowance | None:
    """Take so many messages from the customer's allowance. Raises RateLimited or MoreThanLimit."""
    config = settings.CONFIG.api
    limit = OWN_LIMITS.limit(customer_id, max_age=config.limits_refresh) or config.messages_per_minute
    return _limiter(settings.CONFIG.redis.url).take(customer_id=customer_id, messages=messages, limit=limit)


def messages_give_back(*, customer_id: UUID, messages: int, allowance: Allowance) -> Allowance:
    """Give back what `messages_take` took for a request that had been done before; the allowance as it is then."""
    limiter = _limiter(settings.CONFIG.redis.url)
    return limiter.give_back(customer_id=customer_id, messages=messages, allowance=allowance)


@functools.cache
def _limiter(redis_url: str) -> RateLimiter:
    if not redis_url:
        return RateLimiter(ProcessStorage())
    return RateLimiter(
        SharedStorage(
            redis_url, wrap_exceptions=True, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
        )
    )
