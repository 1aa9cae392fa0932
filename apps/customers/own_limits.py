"""The rate limits of the customers that have their own, cached in memory.

Most customers have none, so one query for all limits is far cheaper than one query for each customer that sends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from django.db import Error as DatabaseError

from apps.customers.models import Customer
from smsgateway import event_loop

log = structlog.get_logger(__name__)


class OwnLimits:
    """All own limits, read again when they are older than `max_age`."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._limits: Mapping[UUID, int] | None = None
        self._read_at = float("-inf")

    def limit(self, customer_id: UUID, *, max_age: float) -> int | None:
        """The customer's own limit, or None. It is at most `max_age` seconds old while PostgreSQL responds.

        One thread reads at a time; the others, and the event loop, use the old limits meanwhile. Raises django.db.Error
        if no limits were ever read.
        """
        if time.monotonic() - self._read_at >= max_age:
            if self._limits is None or event_loop.current() is None:
                event_loop.in_thread(self._read_if_older, max_age)
            elif not self._reading.locked():
                event_loop.in_background(partial(self._read_if_older, max_age))
        return (self._limits or {}).get(customer_id)

    def _read_if_older(self, max_age: float) -> None:
        if self._reading.acquire(blocking=self._limits is None):
            try:
                if time.monotonic() - self._read_at >= max_age:  # unless another thread has read meanwhile
                    self._read()
            finally:
                self._reading.release()

    def _read(self) -> None:
        try:
            self._limits = read()
        except DatabaseError as error:
            if self._limits is None:
                raise
            log.warning("own_limits_are_old", away="database", error=str(error).strip())
        self._read_at = time.monotonic()


def read() -> dict[UUID, int]:
    """The limits as they are in the database."""
    limited = Customer.objects.filter(messages_per_minute__isnull=False)
    return dict(limited.values_list("id", "messages_per_minute"))  # type: ignore[arg-type]  # none is NULL


OWN_LIMITS: Final = OwnLimits()
