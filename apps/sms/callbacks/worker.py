"""The callbacks process: claims due callbacks, sends hundreds at once, and records their outcomes.

One event loop sends; one separate thread uses PostgreSQL. Each round records the calls that ended since the last one,
and claims as many callbacks as there is room for, lane by lane (`lanes`), except for paused lanes (`health`).

A row is claimed for a time (its lease). When a process is killed, the leases of its rows end, and the callbacks are
sent again with the same ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from apps.customers.callback_endpoints import endpoint_disable, secrets_live
from apps.sms.callbacks import health, payload, rows, sender
from apps.sms.callbacks.health import Result
from apps.sms.callbacks.lanes import InFlight, Turn
from apps.sms.callbacks.rows import Claimed, Outcome
from apps.sms.callbacks.schedule import retry_delay
from apps.sms.models import Callback
from smsgateway import ids, metrics
from smsgateway.config.delivery import Callback as CallbackSettings
from smsgateway.process import Process

log = structlog.get_logger(__name__)

_IDLE_SECONDS: Final = 0.2
_DATABASE_RETRY_SECONDS: Final = 1.0
_COUNT_SECONDS: Final = 10.0
# Added to the timeout: a claimed row is sent at once, and the next round records its outcome.
_LEASE_MARGIN_SECONDS: Final = 30.0
_GONE: Final = "by the endpoint itself, which answered 410 Gone"
# How many lanes a round reads at most.
_LANES: Final = 1000
# A host with these outcomes works: it responded, and another message's URL on it may succeed.
_HOST_WORKS: Final = frozenset({sender.DELIVERED, sender.GONE, sender.CLIENT_ERROR, sender.REDIRECT})
_IGNORED: Final = frozenset({sender.INTERNAL})
_IGNORED_FOR_HOST: Final = frozenset({sender.INTERNAL, sender.INVALID_URL})


class _Ready(NamedTuple):
    """A claimed row with its URL, body and signing secrets. `is_probe`: its lane is paused otherwise."""

    row: Claimed
    url: str
    body: bytes
    secrets: Sequence[str]
    is_probe: bool = False


class _Unrecorded(NamedTuple):
    """What the next round records: outcomes of rows, results for lanes, and endpoints that responded with 410."""

    outcomes: list[Outcome]
    results: list[Result]
    gone: list[tuple[UUID, str]]

    def copy(self) -> _Unrecorded:
        return _Unrecorded(self.outcomes[:], self.results[:], self.gone[:])

    def remove(self, recorded: _Unrecorded) -> None:
        """Remove what was recorded, and keep what was added meanwhile."""
        del self.outcomes[: len(recorded.outcomes)]
        del self.results[: len(recorded.results)]
        del self.gone[: len(recorded.gone)]


class CallbackWorker:
    """One callbacks process. `run` returns when `process` is asked to stop and the calls in flight have ended."""

    def __init__(
        self,
        process: Process,
        *,
        sender: sender.Sender,
        config: CallbackSettings,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance`: a random number from 0 to 1, which spreads the retries."""
        self._process = process
        self._sender = sender
        self._config = config
        self._chance = chance
        self._delays = [float(delay) for delay in config.retry_delays]
        self._tasks: dict[asyncio.Task[None], Claimed] = {}
        self._in_flight = InFlight(config)
        self._unrecorded = _Unrecorded([], [], [])
        self._after = rows.START
        self._has_claimed = False
        self._counted_at = float("-inf")
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Serve until the process is asked to stop. Raises any error except those of the database."""
        loop = asyncio.get_running_loop()
        # Name servers may be slow, so there are enough threads for all look-ups at once.
        loop.set_default_executor(ThreadPoolExecutor(2 * self._config.concurrency, "dns"))
        self._database = ThreadPoolExecutor(1, "database")

        def stop() -> None:
            with contextlib.suppress(RuntimeError):  # a second signal, after the loop was closed
                loop.call_soon_threadsafe(self._wake.set)

        self._process.on_stop(stop)
        try:
            async with self._sender:
                await self._serve()
                await self._drain()
        finally:
            # The lambda, because `connection` is another one in each thread.
            await loop.run_in_executor(self._database, lambda: connection.close())
            self._database.shutdown()

    async def _serve(self) -> None:
        is_database_down = False
        while not self._process.stopping.is_set():
            self._process.beat()
            self._wake.clear()
            try:
                claimed = await self._round()
            except DatabaseError as error:
                if not is_database_down:
                    log.error("callbacks_wait", away="database", error=str(error).strip())
                is_database_down = True
                await self._wait(_DATABASE_RETRY_SECONDS)
                continue
            if is_database_down:
                log.info("callbacks_go_on")
                is_database_down = False
            self._has_claimed = self._has_claimed or claimed > 0
            # All lanes were visited. If none had due rows and room, wait until a call ends. Not for long: new rows send
            # no signal, and a call that becomes slow makes room.
            if self._after == rows.START:
                if not self._has_claimed:
                    await self._wait(_IDLE_SECONDS)
                self._has_claimed = False

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _round(self) -> int:
        """Record the calls that ended, claim as many as there is room for, and send them. Returns how many.

        Raises django.db.Error.
        """
        ended = self._unrecorded.copy()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._database, self._record_and_look, ended)
        # Only now, so that nothing is lost if the database fails.
        self._unrecorded.remove(ended)
        # Only this thread changes the calls in flight, so the turns are computed here.
        turns = self._in_flight.turns(found.due)
        ready, unsendable = await loop.run_in_executor(self._database, self._claim, turns)
        self._after = found.next_start
        for item in ready:
            task = asyncio.create_task(self._send(item))
            self._tasks[task] = item.row
            self._in_flight.begin(task, item.row.lane)
            task.add_done_callback(self._task_done)
        for row, error in unsendable:
            self._give_up(row, error)
        metrics.CALLBACKS_IN_FLIGHT.set(len(self._in_flight))
        return len(ready) + len(unsendable)

    def _record_and_look(self, ended: _Unrecorded) -> rows.Lanes:
        """Record the calls that ended, and find the lanes with due rows. Runs in the database's thread."""
        try:
            self._record(ended)
            if time.monotonic() - self._counted_at >= _COUNT_SECONDS:
                self._count()
                self._counted_at = time.monotonic()
            return rows.lanes(after=self._after, most=_LANES)
        except DatabaseError:
            connection.close()
            raise

    def _count(self) -> None:
        if expired := health.expire(delays=self._delays):
            metrics.CALLBACKS_FAILED.inc(expired)
            log.warning("callbacks_expired", count=expired, reason="endpoint_paused")
        pending, age = rows.waiting()
        metrics.CALLBACKS_PENDING.set(pending)
        metrics.CALLBACKS_OLDEST.set(max(0.0, age))
        metrics.CALLBACK_PAUSED.set(health.paused())

    def _record(self, ended: _Unrecorded) -> None:
        if ended.outcomes:
            rows.finish(ended.outcomes)
        if ended.results:
            health.results_record(ended.results, config=self._config)
        for customer_id, url in ended.gone:
            if endpoint_disable(customer_id=customer_id, url=url, reason=_GONE):
                metrics.CALLBACK_ENDPOINTS_DISABLED.inc()
                log.warning("callback_endpoint_disabled", customer_id=ids.to_text(customer_id), reason="410")

    def _claim(self, turns: Sequence[Turn]) -> tuple[list[_Ready], list[tuple[Claimed, str]]]:
        try:
            return self._claimed(turns)
        except DatabaseError:
            connection.close()
            raise

    def _claimed(self, turns: Sequence[Turn]) -> tuple[list[_Ready], list[tuple[Claimed, str]]]:
        lease = self._config.timeout + _LEASE_MARGIN_SECONDS
        probes = health.probes_claim([turn.lane for turn in turns if turn.is_probe], lease_seconds=lease)
        mine = [turn for turn in turns if not turn.is_probe or turn.lane in probes]
        claimed = rows.claim(turns=mine, lease_seconds=lease)
        bodies = payload.bodies(claimed)
        secrets = secrets_live(customer_ids={row.customer_id for row in claimed})
        ready: list[_Ready] = []
        unsendable: list[tuple[Claimed, str]] = []
        for row in claimed:
            if row.target is None:
                unsendable.append((row, "endpoint_disabled"))
            elif row.id not in bodies:
                unsendable.append((row, "message_gone"))
            elif row.customer_id not in secrets:
                unsendable.append((row, "customer_gone"))
            else:
                ready.append(_Ready(row, row.target, bodies[row.id], secrets[row.customer_id], row.lane in probes))
        return ready, unsendable

    def _give_up(self, row: Claimed, error: str) -> None:
        """Fail a callback that cannot be sent."""
        metrics.CALLBACKS_FAILED.inc()
        now = dt.datetime.now(tz=dt.UTC)
        self._unrecorded.outcomes.append(
            Outcome(row.id, row.lease, Callback.Status.FAILED, now, row.target or "", error)
        )

    async def _send(self, item: _Ready) -> None:
        """Call the endpoint once, and decide on the callback's next status."""
        row = item.row
        now = dt.datetime.now(tz=dt.UTC)
        started = time.perf_counter()
        headers = sender.signed_headers(id=ids.to_text(row.id), body=item.body, secrets=item.secrets, now=now)
        answer = await self._sender.send(item.url, headers=headers, body=item.body)
        metrics.CALLBACK_DURATION.observe(time.perf_counter() - started)
        metrics.CALLBACK_ATTEMPTS.labels(answer.outcome).inc()
        status, delay = self._next_status(row, answer)
        if answer.outcome == sender.GONE and not row.url:
            self._unrecorded.gone.append((row.customer_id, item.url))
        error = "" if status == Callback.Status.DELIVERED else answer.outcome
        self._unrecorded.outcomes.append(
            Outcome(row.id, row.lease, status, now, item.url, error, answer.http_status, delay)
        )
        if (result := _result(item, answer)) is not None:
            self._unrecorded.results.append(result)
        about = {"message_id": ids.to_text(row.message_id)} if row.message_id else {}
        log.debug("callback_tried", callback_id=ids.to_text(row.id), outcome=answer.outcome, status=status, **about)

    def _next_status(self, row: Claimed, answer: sender.Answer) -> tuple[str, float | None]:
        if answer.outcome == sender.DELIVERED:
            return Callback.Status.DELIVERED, None
        delay = None
        if answer.outcome != sender.GONE:
            delay = retry_delay(
                row.attempts + 1, delays=self._delays, retry_after=answer.retry_after, chance=self._chance()
            )
        if delay is not None:
            return Callback.Status.PENDING, delay
        metrics.CALLBACKS_FAILED.inc()
        log.info("callback_failed", callback_id=ids.to_text(row.id), customer_id=ids.to_text(row.customer_id))
        return Callback.Status.FAILED, None

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task)
        self._in_flight.end(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("callback_failed_unexpectedly", exc_info=error)  # it is sent again when its lease ends

    async def _drain(self) -> None:
        """Wait for the calls in flight until the drain timeout. Give the rest back at once."""
        late: dict[asyncio.Task[None], Claimed] = {}
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self._config.drain_timeout)
            late = dict(self._tasks)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if late:
            log.warning("drain_timeout", left_in_flight=len(late))
        try:
            await asyncio.get_running_loop().run_in_executor(self._database, self._close, list(late.values()))
        except DatabaseError as error:
            # These callbacks are sent again when their leases end.
            log.error("callbacks_unrecorded", count=len(self._unrecorded.outcomes), error=str(error).strip())

    def _close(self, late: list[Claimed]) -> None:
        self._record(self._unrecorded)
        if late:
            rows.release(late)


def _result(item: _Ready, answer: sender.Answer) -> Result | None:
    """The result for the health of the row's lane; None if the answer does not count."""
    row = item.row
    if not row.counts_for_lane or answer.outcome in (_IGNORED_FOR_HOST if row.host else _IGNORED):
        return None
    working = _HOST_WORKS if row.host else (sender.DELIVERED, sender.GONE)
    error = "" if answer.outcome in working else answer.outcome
    return Result(row.lane, "" if row.host else item.url, error, item.is_probe)
