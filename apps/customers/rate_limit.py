"""Limits how many messages a customer may send in a sliding minute, with the library `limits`.

Headers as in draft-ietf-httpapi-ratelimit-headers. The counts are in the memory of each process, or in Redis for all
processes (`REDIS_URL`). When Redis does not respond, requests are not limited, and a metric counts them: a limit
protects against a caller's mistake, and must not cause an outage.
"""

from __future__ import annotations

import functools
import math
import time
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from limits import RateLimitItemPerMinute
from limits.errors import StorageError

from apps.customers.allowance import WINDOW_SECONDS, Allowance
from apps.customers.errors import MoreThanLimit, RateLimited
from apps.customers.own_limits import OWN_LIMITS
from apps.customers.rate_limit_storage import CountingStorage, ProcessStorage, SharedStorage
from smsgateway import event_loop
from smsgateway.config import Config
from smsgateway.metrics import RATE_LIMIT_UNCHECKED

log = structlog.get_logger(__name__)

_REDIS_TIMEOUT_SECONDS: Final = 0.2
_REDIS_BACKOFF_SECONDS: Final = 2.0
# How long a process refuses a customer from memory, without a look at the counts.
_REMEMBERED_SECONDS: Final = 1.0
_MOST_REMEMBERED: Final = 10_000
# The resolution of Redis' clock is a millisecond; wait a little longer.
_CLOCK_SECONDS: Final = 0.01


class _Exhausted(NamedTuple):
    """A customer with nothing left: its allowance, until when it is refused without a look at the counts, and until
    when it has nothing. Both on the monotonic clock.
    """

    allowance: Allowance
    refused_until: float
    nothing_until: float


class RateLimiter:
    """Counts each customer's messages in one storage."""

    def __init__(self, storage: CountingStorage) -> None:
        self._storage = storage
        self._skip_until = 0.0
        self._exhausted: dict[UUID, _Exhausted] = {}

    def refuse_exhausted(self, *, customer_id: UUID) -> None:
        """Raises RateLimited if nothing was left for this customer a moment ago. Costs no look at the counts."""
        found = self._exhausted.get(customer_id)
        if found is None:
            return
        now = time.monotonic()
        if now >= found.refused_until:
            self._exhausted.pop(customer_id, None)
            return
        wait = max(1, math.ceil(found.nothing_until - now))
        detail = f"0 messages are left of this minute's {found.allowance.limit}."
        raise RateLimited(detail, allowance=found.allowance, retry_after=wait)

    def take(self, *, customer_id: UUID, messages: int, limit: int) -> Allowance | None:
        """Take messages from the customer's allowance. None if the storage does not respond.

        Raises RateLimited, or MoreThanLimit if the request has more messages than the limit.
        """
        if messages > limit:
            raise MoreThanLimit(messages=messages, limit=limit)
        if self._is_skipping():
            return None
        key = _key(customer_id, limit)
        try:
            taken = self._storage.acquire_sliding_window_entry(key, limit, WINDOW_SECONDS, messages)
            counts = self._storage.get_sliding_window(key, WINDOW_SECONDS)
        except StorageError as error:
            self._skip(error)
            return None
        allowance = _allowance(limit, counts)
        remaining = allowance.remaining
        if not taken:
            wait = seconds_until(messages, limit=limit, counts=counts)
            if not remaining:
                self._remember_exhausted(customer_id, allowance, seconds_until(1, limit=limit, counts=counts))
            detail = f"{remaining} messages are left of this minute's {limit}; this request has {messages}."
            raise RateLimited(detail, allowance=allowance, retry_after=wait)
        return allowance

    def give_back(self, *, customer_id: UUID, messages: int, allowance: Allowance) -> Allowance:
        """Undo a `take` whose messages were a repetition. Returns the new allowance."""
        self._exhausted.pop(customer_id, None)
        if not self._is_skipping():
            try:
                self._storage.give_back(_key(customer_id, allowance.limit), WINDOW_SECONDS, messages)
            except StorageError as error:
                self._skip(error)
        return allowance._replace(remaining=min(allowance.limit, allowance.remaining + messages))

    def _remember_exhausted(self, customer_id: UUID, allowance: Allowance, wait: int) -> None:
        now = time.monotonic()
        if len(self._exhausted) >= _MOST_REMEMBERED:
            self._exhausted.clear()
        self._exhausted[customer_id] = _Exhausted(allowance, now + min(_REMEMBERED_SECONDS, wait), now + wait)

    def _is_skipping(self) -> bool:
        skipping = time.monotonic() < self._skip_until
        if skipping:
            RATE_LIMIT_UNCHECKED.inc()
        return skipping

    def _skip(self, error: StorageError) -> None:
        RATE_LIMIT_UNCHECKED.inc()
        self._skip_until = time.monotonic() + _REDIS_BACKOFF_SECONDS
        log.error("rate_limits_unchecked", away="redis", error=str(error.storage_error))


@functools.lru_cache(maxsize=20_000)
def _key(customer_id: UUID, limit: int) -> str:
    """The name of a customer's counts, as the library's strategies make it."""
    return str(RateLimitItemPerMinute(limit).key_for(customer_id.hex))


def _allowance(limit: int, counts: tuple[int, float, int, float]) -> Allowance:
    """What is left, and the seconds until more is, as the library's sliding window counts. `counts`: see below."""
    before, before_left, current, current_left = counts
    remaining = max(0, limit - math.floor(before * before_left / WINDOW_SECONDS + current))
    resets = []
    if before:
        resets.append(before_left % (WINDOW_SECONDS / before))
    if current:
        resets.append(current_left % WINDOW_SECONDS)
    return Allowance(limit, min(limit, remaining), max(1, math.ceil(min(resets, default=0))))


def seconds_until(messages: int, *, limit: int, counts: tuple[int, float, int, float]) -> int:
    """Whole seconds, at least 1, until `messages` (at most `limit`) fit, if nothing else is taken meanwhile.

    `counts`: of the previous window, the seconds until it expires, of the current window, the seconds until that
    expires. The previous window counts in proportion to its remaining seconds, rounded down.
    """
    before, before_left, current, current_left = counts
    room = limit - current - messages
    if room >= 0:
        seconds = _until_at_most(room, before, before_left)
    else:  # not before the current window has become the previous one
        seconds = current_left - WINDOW_SECONDS + _until_at_most(limit - messages, current, WINDOW_SECONDS)
    return max(1, math.floor(seconds + _CLOCK_SECONDS) + 1)


def _until_at_most(count: int, before: int, left: float) -> float:
    """Seconds until a window with `left` seconds and `before` messages counts as at most `count` messages."""
    return max(0.0, left - WINDOW_SECONDS * (count + 1) / before) if before else 0.0


def messages_take(*, customer_id: UUID, messages: int) -> Allowance | None:
    """Take messages from the customer's allowance. Raises RateLimited or MoreThanLimit."""
    config: Config = settings.CONFIG
    api, url = config.api, config.redis.url
    limit = OWN_LIMITS.limit(customer_id, max_age=api.limits_refresh) or api.messages_per_minute
    take = _limiter(url).take
    if url:  # which waits for Redis
        return event_loop.in_thread(partial(take, customer_id=customer_id, messages=messages, limit=limit))
    return take(customer_id=customer_id, messages=messages, limit=limit)


def refuse_exhausted(*, customer_id: UUID) -> None:
    """Raises RateLimited if the customer had no message left a moment ago: before its request is read."""
    _limiter(settings.CONFIG.redis.url).refuse_exhausted(customer_id=customer_id)


def messages_give_back(*, customer_id: UUID, messages: int, allowance: Allowance) -> Allowance:
    """Give back what `messages_take` took for a repeated request. Returns the new allowance."""
    give_back = _limiter(settings.CONFIG.redis.url).give_back
    return event_loop.in_thread(partial(give_back, customer_id=customer_id, messages=messages, allowance=allowance))


@functools.cache
def _limiter(redis_url: str) -> RateLimiter:
    if not redis_url:
        return RateLimiter(ProcessStorage())
    return RateLimiter(
        SharedStorage(
            redis_url,
            wrap_exceptions=True,
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        )
    )
