"""How long to wait after a bind that failed: wrong credentials and too many connections pass only by somebody's act or
by time, and trying at once makes both worse."""

from __future__ import annotations

import random
from typing import Literal

from smsgateway.config import SmppOperator

Outcome = Literal["unreachable", "refused", "credentials", "too_many"]

_LONGEST_FACTOR = 10


class Rebinding:
    """The delays of one connection. Each cause has its own."""

    def __init__(self, settings: SmppOperator) -> None:
        self._settings = settings
        self._credentials = {int(status, 16) for status in settings.credential_statuses}
        self._too_many = {int(status, 16) for status in settings.bind_limit_statuses}
        self._failures = 0

    def outcome(self, status: int) -> Outcome:
        """What a bind's command status means."""
        if status in self._credentials:
            return "credentials"
        return "too_many" if status in self._too_many else "refused"

    def lasted(self) -> None:
        """Note that a connection was bound for longer than the delay before it."""
        self._failures = 0

    def longest_delay(self, outcome: Outcome | None) -> float:
        """The upper bound of the delay before the next try; `outcome`: of the last bind, None if it succeeded."""
        settings = self._settings
        doubled = 2.0 ** min(self._failures, 30)
        if outcome == "credentials":
            return settings.credential_delay
        if outcome == "too_many":
            return min(settings.bind_limit_delay * _LONGEST_FACTOR, settings.bind_limit_delay * doubled)
        return min(settings.rebind_cap, settings.rebind_base * doubled)

    def delay(self, outcome: Outcome | None) -> tuple[float, float]:
        """The seconds until the next try, spread by chance, and their upper bound."""
        longest = self.longest_delay(outcome)
        self._failures += 1
        return longest * random.uniform(0.5, 1), longest  # spreads load; not a secret
