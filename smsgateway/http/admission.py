"""Sheds load: a request that would wait too long in its queue is refused at once with 503 and Retry-After.

Without this a queue that grows faster than it is served makes every client wait until its own timeout, and the work for
clients that have gone delays the others. Each kind of request has its own limit, a multiple of HTTP_MAX_WAIT: bulk
messages are refused first, one-time passwords last, health checks never.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final, NoReturn

import structlog

from smsgateway.errors import Overloaded
from smsgateway.metrics import HTTP_SHED

log = structlog.get_logger(__name__)


class Kind(StrEnum):
    """What a request does, as far as its urgency depends on it."""

    BULK = "bulk"
    NORMAL = "normal"
    OTP = "otp"
    BATCH = "batch"
    RECEIPT = "receipt"
    READ = "read"
    HEALTH = "health"


# The longest wait of each kind, as a multiple of HTTP_MAX_WAIT. Batches take long themselves, so their clients wait
# longer anyway; an operator whose receipt is refused sends it again later, which costs both sides more.
PATIENCE: Final = {
    Kind.BULK: 0.5,
    Kind.NORMAL: 1.0,
    Kind.READ: 1.0,
    Kind.RECEIPT: 2.0,
    Kind.BATCH: 3.0,
    Kind.OTP: 4.0,
    Kind.HEALTH: math.inf,
}
LOG_SECONDS: Final = 10.0
_MOST_RETRY_SECONDS: Final = 60

_HEALTH: Final = frozenset(("/healthz", "/readyz", "/metrics"))
_MANY: Final = frozenset(("/v1/sms/batch", "/v1/sms/estimate"))
# The text of a message cannot contain this: JSON escapes the quotes in it.
_PRIORITY: Final = re.compile(rb'"priority"[ \t\r\n]*:[ \t\r\n]*"(otp|bulk)"')
_PRIORITIES: Final = {b"otp": Kind.OTP, b"bulk": Kind.BULK}


# For kinds of requests that run on the event loop: since when the oldest in their queue has waited.
_OLDEST: Final[dict[Kind, Callable[[], float | None]]] = {}


def measure(kinds: Iterable[Kind], oldest: Callable[[], float | None]) -> None:
    """Declare the queue in which these kinds of requests wait while they run on the event loop.

    `oldest`: since when its oldest has waited, in monotonic seconds; None if none waits.
    """
    _OLDEST.update(dict.fromkeys(kinds, oldest))


def oldest_on_loop(kind: Kind) -> float | None:
    """Since when the oldest request in this kind's queue has waited, in monotonic seconds; None if none waits."""
    oldest = _OLDEST.get(kind)
    return oldest and oldest()


def kind_of(method: str, path: str, body: bytes = b"") -> Kind:
    """The kind of a request. `body`: as it was received; the priority of a compressed one counts as normal."""
    if path in _HEALTH:
        return Kind.HEALTH
    if path.startswith("/v1/operators/"):
        return Kind.RECEIPT
    if method != "POST":
        return Kind.READ
    if path == "/v1/sms/send":
        found = _PRIORITY.search(body)
        return _PRIORITIES[found[1]] if found else Kind.NORMAL
    return Kind.BATCH if path in _MANY else Kind.READ


class Admission:
    """Decides which requests are refused. One of these serves all queues of a process."""

    def __init__(
        self,
        *,
        max_wait: float,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[int, int], int] = random.randint,
    ) -> None:
        """`max_wait`: seconds (HTTP_MAX_WAIT). `spread`: a random number between two, both included."""
        self._max_wait = max_wait
        self._clock = clock
        self._spread = spread
        self._calm = max_wait * min(PATIENCE.values())
        self._logged_at = -math.inf
        self._unlogged: Counter[str] = Counter()

    def wait(self, oldest: float | None) -> float:
        """How many seconds requests wait in a queue whose oldest has waited since then (monotonic seconds)."""
        return 0.0 if oldest is None else self._clock() - oldest

    def is_calm(self, wait: float) -> bool:
        """True if no kind of request is refused after this many seconds. Then `check` need not be called."""
        return wait <= self._calm

    def check(self, kind: Kind, wait: float) -> None:
        """Raises Overloaded if a request of this kind must not join a queue in which requests wait `wait` seconds."""
        if wait > self._max_wait * PATIENCE[kind]:
            self.refuse(kind, wait)

    def refuse(self, kind: Kind, wait: float) -> NoReturn:
        """Raises Overloaded, and counts and logs it."""
        HTTP_SHED.labels(kind).inc()
        self._unlogged[kind] += 1
        self._log(wait)
        raise Overloaded(
            f"Requests wait {wait:.1f} s; this one was refused and had no effect.", retry_after=self._retry_after(wait)
        )

    def _retry_after(self, wait: float) -> int:
        """Whole seconds, spread at random so that the refused clients do not return at the same moment."""
        soonest = max(1, math.ceil(wait))
        return min(_MOST_RETRY_SECONDS, self._spread(soonest, 2 * soonest))

    def _log(self, wait: float) -> None:
        """Log at most one line in LOG_SECONDS: the numbers of requests refused since the last one."""
        now = self._clock()
        if now - self._logged_at < LOG_SECONDS:
            return
        self._logged_at = now
        log.warning("requests_shed", wait_seconds=round(wait, 2), **self._unlogged)
        self._unlogged.clear()
