"""Charges single sends together: those that arrive while a statement is in flight go with the next one.

The statement runs on the event loop's own connection and skips locked accounts, so no customer waits for another. A
charge that it skipped waits in the lane of its account: one thread with a connection of its own, where all charges of
the account are done together, or fail together after one lock timeout. Only so many accounts have a lane at a time;
charges of the others are tried again with the next statements until the same timeout has passed.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import Error, OperationalError
from psycopg.errors import LockNotAvailable

from apps.sms.accept.charge_statement import (
    NOT_LOCKED,
    Charge,
    Outcome,
    Settled,
    charge_alone,
    charge_together,
    group_of,
    is_lost,
    locked_too_long,
    settle,
)
from apps.sms.errors import RequestInProgress
from smsgateway import event_loop
from smsgateway.http import admission, coalesce
from smsgateway.http.admission import Kind
from smsgateway.metrics import BALANCE_DEDUCTION, SMS_WRITE_WAIT
from smsgateway.postgres.loop_connection import LoopConnection

# So many accounts may be waited for at a time, on a connection each.
_MOST_LANES: Final = 8
_AGAIN_SECONDS: Final = 0.1
# The statement with its parameters by number, which psycopg does not have to look for each time.
_PARAMETERS: Final = ("items", "payers")
_NOT_LOCKED: Final = functools.reduce(
    lambda statement, number: statement.replace(f"%({_PARAMETERS[number]})s", f"${number + 1}"),
    range(len(_PARAMETERS)),
    NOT_LOCKED,
)


class _Waiting(NamedTuple):
    """A charge, its call on the loop, when it came, and when it joined the queue it is in (monotonic seconds)."""

    charge: Charge
    call: event_loop.Call
    since: float
    joined: float


class ChargeGroup:
    """The single sends of a process. Its methods run on the loop's thread."""

    def __init__(self) -> None:
        self._connection = LoopConnection()
        self._waiting: deque[_Waiting] = deque()
        self._is_writing = False
        self._lanes: dict[UUID, deque[_Waiting]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, one: Charge) -> Outcome:
        """Charge one single send; elsewhere than on the loop alone, in this thread.

        Raises RequestInProgress, django.db.Error.
        """
        call = event_loop.current()
        if call is None:
            return charge_alone(one, lock="row")
        now = time.monotonic()
        self._add(_Waiting(one, call, now, now))
        return _outcome(event_loop.pause())

    def ask_alone(self, one: Charge, *, lock: str) -> Outcome:
        """Charge one request by itself, under this lock. Raises RequestInProgress, django.db.Error."""
        call = event_loop.current()
        if call is None:
            return charge_alone(one, lock=lock)
        now = time.monotonic()
        self._enter_lane(_Waiting(one, call, now, now), lock)
        return _outcome(event_loop.pause())

    @staticmethod
    def answer_together(charges: Sequence[Charge]) -> Sequence[Outcome | Exception]:
        """The outcome of each charge, in this thread."""
        return charge_together(charges, lock="row")

    @property
    def oldest(self) -> float | None:
        """Since when (monotonic seconds) the oldest charge has waited for its statement; None if none waits."""
        return self._waiting[0].joined if self._waiting else None

    def _add(self, one: _Waiting) -> None:
        lane = self._lanes.get(one.charge.customer_id)
        if lane is not None and one.charge.claim is None:  # with a claim it may have been done before
            lane.append(one)
            return
        self._waiting.append(one)
        if not self._is_writing:
            self._is_writing = True
            # Requests that the loop finds at the same moment are read before its next round.
            asyncio.get_running_loop().call_soon(self._write_next)

    def _write_next(self) -> None:
        taken: list[_Waiting] = []
        keys: set[tuple[UUID, str]] = set()
        repeated: list[_Waiting] = []
        while self._waiting and len(taken) < coalesce.MOST:
            one = self._waiting.popleft()
            if claim := one.charge.claim:
                key = (one.charge.customer_id, claim.key)
                if key in keys:  # it must see what the first one did
                    repeated.append(one)
                    continue
                keys.add(key)
            taken.append(one)
        self._waiting.extendleft(reversed(repeated))
        self._is_writing = bool(taken)
        if taken:
            task = asyncio.get_running_loop().create_task(self._write(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _write(self, taken: Sequence[_Waiting]) -> None:
        group = group_of([one.charge for one in taken])
        started = time.monotonic()
        SMS_WRITE_WAIT.observe(started - taken[0].since)
        settled: Settled | Error
        try:
            settled = settle(
                group, await self._connection.fetch(_NOT_LOCKED, [group.parameters[name] for name in _PARAMETERS])
            )
            BALANCE_DEDUCTION.observe(time.monotonic() - started)
        except Error as error:
            settled = error
        # The next statement first: PostgreSQL works on it while these calls go on.
        self._write_next()
        asyncio.get_running_loop().call_soon(self._answer, taken, settled)

    def _answer(self, taken: Sequence[_Waiting], settled: Settled | Error) -> None:
        if isinstance(settled, Error):
            # Nothing was done, or that is unknown. In the first case one of the charges may be the reason.
            for one in taken:
                if is_lost(settled):
                    event_loop.resume(one.call, settled)
                else:
                    self._enter_lane(one, "row")
            return
        alone = {id(one) for one in settled.alone}
        for one in taken:
            outcome = settled.outcomes.get(one.charge.items[0].id)
            if outcome is not None:
                event_loop.resume(one.call, outcome)
            elif id(one.charge) in alone and one.charge.claim is not None:
                self._in_thread([one], "row")
            else:
                self._enter_lane(one, "row")

    def _enter_lane(self, one: _Waiting, lock: str) -> None:
        customer_id = one.charge.customer_id
        lane = self._lanes.get(customer_id)
        if lane is not None:
            lane.append(one)
        elif len(self._lanes) < _MOST_LANES:
            self._lanes[customer_id] = deque([one])
            # What else was skipped with it comes in the same round of the loop.
            asyncio.get_running_loop().call_soon(self._run_lane, customer_id, lock)
        else:
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._try_again, one, lock)

    def _try_again(self, one: _Waiting, lock: str) -> None:
        if time.monotonic() - one.since > settings.CONFIG.database.lock_timeout / 1000:
            error = OperationalError("canceling statement due to lock timeout")
            error.__cause__ = LockNotAvailable()
            event_loop.resume(one.call, locked_too_long(one.charge, error))
        elif lock == "row":
            self._add(one._replace(joined=time.monotonic()))
        else:
            self._enter_lane(one, lock)

    def _run_lane(self, customer_id: UUID, lock: str) -> None:
        lane = self._lanes[customer_id]
        if not lane:
            del self._lanes[customer_id]
            return
        taken = [lane.popleft() for _ in range(min(coalesce.MOST, len(lane)))]
        self._in_thread(taken, lock, customer_id)

    def _in_thread(self, taken: Sequence[_Waiting], lock: str, customer_id: UUID | None = None) -> None:
        """Do these charges in a thread. `customer_id`: go on with this account's lane afterwards."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_MOST_LANES + 1, thread_name_prefix="held-accounts")
        loop = asyncio.get_running_loop()
        charges = [one.charge for one in taken]
        together = partial(charge_together, lock=lock)
        doing = self._threads.submit(event_loop.using_database, coalesce.answers, together, charges)
        doing.add_done_callback(lambda done: loop.call_soon_threadsafe(self._done, taken, done, lock, customer_id))

    def _done(
        self, taken: Sequence[_Waiting], done: Future[Sequence[Any]], lock: str, customer_id: UUID | None
    ) -> None:
        answers = list(done.result())
        if customer_id is not None:
            timed_out = next(filter(None, map(_lock_timeout, answers)), None)
            if timed_out is not None:  # those that came meanwhile do not wait for another timeout
                late = self._lanes[customer_id]
                taken = [*taken, *late]
                answers += [locked_too_long(one.charge, timed_out) for one in late]
                late.clear()
            self._run_lane(customer_id, lock)
        for one, answer in zip(taken, answers, strict=True):
            event_loop.resume(one.call, answer)


CHARGE_GROUP: Final = ChargeGroup()
admission.measure((Kind.BULK, Kind.NORMAL, Kind.OTP), lambda: CHARGE_GROUP.oldest)


def charge(one: Charge, *, lock: str) -> Outcome:
    """Charge and store a request's items; a single send together with others that arrive at this moment.

    Raises RequestInProgress, django.db.Error.
    """
    if lock == "row" and len(one.items) == 1:
        return CHARGE_GROUP.ask(one)
    return CHARGE_GROUP.ask_alone(one, lock=lock)


def _outcome(answer: Any) -> Outcome:
    if isinstance(answer, Exception):
        raise answer
    found: Outcome = answer
    return found


def _lock_timeout(answer: object) -> Error | None:
    """PostgreSQL's error if that is the answer because an account stayed locked."""
    error = answer.__cause__ if isinstance(answer, RequestInProgress) else answer
    return error if isinstance(error, Error) and isinstance(error.__cause__, LockNotAvailable) else None
