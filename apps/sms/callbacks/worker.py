"""The callbacks process: claims what is due, sends hundreds at once, records what came of it.

One event loop sends; PostgreSQL is spoken to by one thread of its own. Each round records what ended since the last one
and claims as much as there is room for: by lanes (`lanes`), but for those that are paused (`health`).

A row is claimed for a time (its lease): what a killed process had in flight comes back by itself and is sent again,
with the same id.
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
_TROUBLE_SECONDS: Final = 1.0
_COUNT_SECONDS: Final = 10.0
# Beyond the timeout: a claimed row is sent at once, and its end is recorded by the next round.
_LEASE_MARGIN_SECONDS: Final = 30.0
_GONE: Final = "by the endpoint itself, which answered 410 Gone"
# So many lanes are looked at in a round at most.
_LANES: Final = 1000
# What a host is not to blame for: it answered, and another message's URL there may be well.
_HOST_ANSWERED: Final = frozenset({sender.DELIVERED, sender.GONE, sender.CLIENT_ERROR, sender.REDIRECT})
_SAYS_NOTHING: Final = frozenset({sender.INTERNAL})
_SAYS_NOTHING_OF_HOST: Final = frozenset({sender.INTERNAL, sender.INVALID_URL})


class _Ready(NamedTuple):
    """A claimed row, its address, its body, and what signs it. `is_probe`: its lane is paused otherwise."""

    row: Claimed
    url: str
    body: bytes
    secrets: Sequence[str]
    is_probe: bool = False


class _Ended(NamedTuple):
    """What is still to be recorded: of rows, of their lanes, and endpoints that said 410."""

    outcomes: list[Outcome]
    results: list[Result]
    gone: list[tuple[UUID, str]]

    def copy(self) -> _Ended:
        return _Ended(self.outcomes[:], self.results[:], self.gone[:])

    def forget(self, recorded: _Ended) -> None:
        """What was recorded; more has ended meanwhile."""
        del self.outcomes[: len(recorded.outcomes)]
        del self.results[: len(recorded.results)]
        del self.gone[: len(recorded.gone)]


class CallbackWorker:
    """One callbacks process. `run` returns when `process` is asked to stop and what is in flight has ended."""

    def __init__(
        self,
        process: Process,
        *,
        sender: sender.Sender,
        config: CallbackSettings,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance`: 0 to 1, moves the retries."""
        self._process = process
        self._sender = sender
        self._config = config
        self._chance = chance
        self._delays = [float(delay) for delay in config.retry_delays]
        self._tasks: dict[asyncio.Task[None], Claimed] = {}
        self._in_flight = InFlight(config)
        self._ended = _Ended([], [], [])
        self._after = rows.START
        self._has_claimed = False
        self._counted_at = float("-inf")
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Raises what is no trouble of the database: a fault of ours."""
        loop = asyncio.get_running_loop()
        # Name servers may take their time: no look-up waits for a thread that another one holds.
        loop.set_default_executor(ThreadPoolExecutor(2 * self._config.concurrency, "dns"))
        self._database = ThreadPoolExecutor(1, "database")

        def stop() -> None:
            with contextlib.suppress(RuntimeError):  # a second signal, when the loop is closed already
                loop.call_soon_threadsafe(self._wake.set)

        self._process.on_stop(stop)
        try:
            async with self._sender:
                await self._serve()
                await self._drain()
        finally:
            # Called there: the name alone would be looked up here, and be this thread's connection.
            await loop.run_in_executor(self._database, lambda: connection.close())
            self._database.shutdown()

    async def _serve(self) -> None:
        in_trouble = False
        while not self._process.stopping.is_set():
            self._process.beat()
            self._wake.clear()
            try:
                claimed = await self._round()
            except DatabaseError as error:
                if not in_trouble:
                    log.error("callbacks_wait", away="database", error=str(error).strip())
                in_trouble = True
                await self._rest(_TROUBLE_SECONDS)
                continue
            if in_trouble:
                log.info("callbacks_go_on")
                in_trouble = False
            self._has_claimed = self._has_claimed or claimed > 0
            # No lane has rows and room: until something ends, but new rows come without a word, and calls become slow.
            if self._after == rows.START:
                if not self._has_claimed:
                    await self._rest(_IDLE_SECONDS)
                self._has_claimed = False

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _round(self) -> int:
        """Record what ended, claim what there is room for and send it; how many that is. Raises django.db.Error."""
        ended = self._ended.copy()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._database, self._record_and_look, ended)
        # Recorded: forgotten only now, so that trouble with the database forgets nothing.
        self._ended.forget(ended)
        # What is in flight changes in this thread alone, so the turns are given here.
        turns = self._in_flight.turns(found.due)
        ready, hopeless = await loop.run_in_executor(self._database, self._claim, turns)
        self._after = found.next_start
        for item in ready:
            task = asyncio.create_task(self._send(item))
            self._tasks[task] = item.row
            self._in_flight.begin(task, item.row.lane)
            task.add_done_callback(self._landed)
        for row, error in hopeless:
            self._give_up(row, error)
        metrics.CALLBACKS_IN_FLIGHT.set(len(self._in_flight))
        return len(ready) + len(hopeless)

    def _record_and_look(self, ended: _Ended) -> rows.Lanes:
        """Record what ended, and the lanes that have rows which are due. In the database's thread, as all below it."""
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

    def _record(self, ended: _Ended) -> None:
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
        hopeless: list[tuple[Claimed, str]] = []
        for row in claimed:
            if row.target is None:
                hopeless.append((row, "endpoint_disabled"))
            elif row.id not in bodies:
                hopeless.append((row, "message_gone"))
            elif row.customer_id not in secrets:
                hopeless.append((row, "customer_gone"))
            else:
                ready.append(_Ready(row, row.target, bodies[row.id], secrets[row.customer_id], row.lane in probes))
        return ready, hopeless

    def _give_up(self, row: Claimed, error: str) -> None:
        """What cannot be sent has failed."""
        metrics.CALLBACKS_FAILED.inc()
        now = dt.datetime.now(tz=dt.UTC)
        self._ended.outcomes.append(Outcome(row.id, row.lease, Callback.Status.FAILED, now, row.target or "", error))

    async def _send(self, item: _Ready) -> None:
        """Call the endpoint once and decide what follows."""
        row = item.row
        now = dt.datetime.now(tz=dt.UTC)
        started = time.perf_counter()
        headers = sender.signed_headers(id=ids.to_text(row.id), body=item.body, secrets=item.secrets, now=now)
        answer = await self._sender.send(item.url, headers=headers, body=item.body)
        metrics.CALLBACK_DURATION.observe(time.perf_counter() - started)
        metrics.CALLBACK_ATTEMPTS.labels(answer.outcome).inc()
        status, delay = self._what_follows(row, answer)
        if answer.outcome == sender.GONE and not row.url:
            self._ended.gone.append((row.customer_id, item.url))
        error = "" if status == Callback.Status.DELIVERED else answer.outcome
        self._ended.outcomes.append(Outcome(row.id, row.lease, status, now, item.url, error, answer.http_status, delay))
        if (result := _result(item, answer)) is not None:
            self._ended.results.append(result)
        about = {"message_id": ids.to_text(row.message_id)} if row.message_id else {}
        log.debug("callback_tried", callback_id=ids.to_text(row.id), outcome=answer.outcome, status=status, **about)

    def _what_follows(self, row: Claimed, answer: sender.Answer) -> tuple[str, float | None]:
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

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task)
        self._in_flight.end(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("callback_failed_unexpectedly", exc_info=error)  # its lease brings it back

    async def _drain(self) -> None:
        """Wait for what is in flight, so long as the drain timeout allows; the rest is given back at once."""
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
            # What was sent is sent again when its lease ends.
            log.error("callbacks_unrecorded", count=len(self._ended.outcomes), error=str(error).strip())

    def _close(self, late: list[Claimed]) -> None:
        self._record(self._ended)
        if late:
            rows.release(late)


def _result(item: _Ready, answer: sender.Answer) -> Result | None:
    """What the answer says about the row's lane; None if it says nothing."""
    row = item.row
    if not row.is_lanes_own or answer.outcome in (_SAYS_NOTHING_OF_HOST if row.host else _SAYS_NOTHING):
        return None
    well = _HOST_ANSWERED if row.host else (sender.DELIVERED, sender.GONE)
    error = "" if answer.outcome in well else answer.outcome
    return Result(row.lane, "" if row.host else item.url, error, item.is_probe)
