"""How many messages a customer may hand in: a sliding minute, by the library `limits`.

Headers as in draft-ietf-httpapi-ratelimit-headers. The counts are in the memory of each process, or in Redis for all of
them (`REDIS_URL`). When Redis does not answer, requests are let through and counted: a limit guards against a caller's
mistake, and must not become an outage of its own.
"""

from __future__ import annotations

import functools
import time
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import RedisStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from apps.customers.counting import ProcessStorage
from apps.customers.errors import RateLimited
from apps.customers.models import Customer
from smsgateway.metrics import RATE_LIMIT_UNCHECKED
from smsgateway.remembering import Remembered

log = structlog.get_logger(__name__)

WINDOW_SECONDS: Final = 60
_REDIS_SECONDS: Final = 0.2
_REDIS_REST_SECONDS: Final = 2.0


class Allowance(NamedTuple):
    """A customer's limit in the window, what is left of it, and the seconds until it is whole again."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit`."""
        return {
            "RateLimit-Policy": f'"messages";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"messages";r={self.remaining};t={self.reset}',
        }


class RateLimiter:
    """Counts messages by customer in one store."""

    def __init__(self, storage: Storage) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._resting_until = 0.0

    def take(self, *, customer_id: UUID, messages: int, limit: int) -> Allowance | None:
        """Take from the customer's allowance. None if the store does not answer. Raises RateLimited."""
        if time.monotonic() < self._resting_until:
            RATE_LIMIT_UNCHECKED.inc()
            return None
        window = RateLimitItemPerMinute(limit)
        try:
            taken = self._limiter.hit(window, customer_id.hex, cost=messages)
            reset_at, remaining = self._limiter.get_window_stats(window, customer_id.hex)
        except StorageError as error:
            RATE_LIMIT_UNCHECKED.inc()
            self._resting_until = time.monotonic() + _REDIS_REST_SECONDS
            log.error("rate_limits_unchecked", away="redis", error=str(error.storage_error))
            return None
        allowance = Allowance(limit, remaining, max(1, round(reset_at - time.time())))
        if not taken:
            raise RateLimited(_told(messages, allowance), allowance=allowance)
        return allowance


def messages_take(*, customer_id: UUID, messages: int) -> Allowance | None:
    """Take so many messages from the customer's allowance. Raises RateLimited."""
    config = settings.CONFIG.api
    limit = _own_limits.get(customer_id, max_age=config.limits_refresh) or config.messages_per_minute
    return _limiter(settings.CONFIG.redis.url).take(customer_id=customer_id, messages=messages, limit=limit)


def _told(messages: int, allowance: Allowance) -> str:
    if messages > allowance.limit:
        return f"{messages} messages are more than a minute's {allowance.limit}; send them in smaller batches."
    return f"{allowance.remaining} messages are left of this minute's {allowance.limit}; this request has {messages}."


def _own_limit(customer_id: UUID) -> int | None:
    return Customer.objects.filter(id=customer_id).values_list("messages_per_minute", flat=True).first()


_own_limits: Final = Remembered(_own_limit)


@functools.cache
def _limiter(redis_url: str) -> RateLimiter:
    if not redis_url:
        return RateLimiter(ProcessStorage())
    return RateLimiter(
        RedisStorage(
            redis_url, wrap_exceptions=True, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
        )
    )
