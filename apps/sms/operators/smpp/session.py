"""One connection to an SMSC, from bind to unbind: requests and their answers, enquire_link, deliveries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from apps.sms.operators.base import TransientSubmitError
from apps.sms.operators.smpp import pdu, statuses
from apps.sms.operators.smpp.pdu import Pdu
from smsgateway import metrics
from smsgateway.config import SmppOperator

log = structlog.get_logger(__name__)

# Deliveries whose receipts are not durable yet. SMSCs send far fewer before they wait for answers.
_MOST_DELIVERIES: Final = 1000
_UNBIND_SECONDS: Final = 5.0

# Answers a deliver_sm or data_sm with a command status.
Deliver = Callable[[Pdu], Awaitable[int]]


class BindRefused(Exception):
    """The SMSC refused the bind, with this command status. The argument is its name."""

    def __init__(self, status: int) -> None:
        super().__init__(statuses.name_of(status))
        self.status = status


class Session(asyncio.Protocol):
    """A connection. `lost` is set when it has ended, for `reason`."""

    def __init__(self, name: str, settings: SmppOperator, deliver: Deliver) -> None:
        self.lost = asyncio.Event()
        self.reason = ""
        self.window = asyncio.Semaphore(settings.in_flight)
        self._name = name
        self._settings = settings
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._watch: asyncio.Task[None] | None = None
        self._sequence = 0
        self._pending: dict[int, asyncio.Future[Pdu]] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._received = bytearray()
        self._to_send: list[bytes] = []
        self._heard = self._loop.time()  # when data came last

    # For the client

    async def bind(self) -> None:
        """Bind as a transceiver. Raises BindRefused, or TransientSubmitError if no answer comes."""
        settings = self._settings
        answer = await self.ask(
            lambda sequence: pdu.bind_transceiver(
                sequence,
                system_id=settings.system_id,
                password=settings.password,
                system_type=settings.system_type,
                version=settings.interface_version,
            )
        )
        if answer.status != statuses.OK:
            raise BindRefused(answer.status)
        self._watch = asyncio.create_task(self._keep_alive())

    async def ask(self, pack: Callable[[int], bytes]) -> Pdu:
        """Send the request that `pack` makes for a sequence number; return its answer.

        Raises TransientSubmitError: `timeout`, or `connection_lost`.
        """
        if self.reason:
            raise TransientSubmitError("connection_lost")
        sequence = self._next_sequence()
        request = pack(sequence)
        answer: asyncio.Future[Pdu] = self._loop.create_future()
        self._pending[sequence] = answer
        timer = self._loop.call_later(self._settings.timeout, self._time_out, answer)
        self._send(request)
        try:
            return await answer
        finally:
            timer.cancel()
            del self._pending[sequence]

    async def unbind(self) -> None:
        """Answer the deliveries received so far, unbind, and close."""
        if self._deliveries:
            await asyncio.wait(set(self._deliveries), timeout=_UNBIND_SECONDS)
        with contextlib.suppress(TransientSubmitError, TimeoutError):
            async with asyncio.timeout(_UNBIND_SECONDS):
                await self.ask(lambda sequence: pdu.pack(pdu.UNBIND, sequence))
        self.end("closed")
        await self.lost.wait()

    def end(self, reason: str) -> None:
        """Close the connection; requests in flight fail. The first reason given counts."""
        self.reason = self.reason or reason
        self._flush()
        self._transport.close()
        # A peer that reads nothing would keep a closing connection open forever.
        self._loop.call_later(_UNBIND_SECONDS, self._transport.abort)
        self._fail_pending()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport can be written to

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._received += data
        try:
            for received in pdu.frames(self._received):
                if received.command & pdu.RESPONSE:
                    self._take_answer(received)
                else:
                    self._take_request(received)
        except pdu.BadFrame as error:
            log.error("smpp_stream_broken", operator=self._name, error=str(error))
            self.end("bad_frame")

    def connection_lost(self, error: Exception | None) -> None:
        self.reason = self.reason or "connection_lost"
        if self._watch:
            self._watch.cancel()
        for delivery in self._deliveries:
            delivery.cancel()  # not acknowledged: it comes again
        self._fail_pending()
        self.lost.set()

    # Internals

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % pdu.LAST_SEQUENCE + 1
        return self._sequence

    def _send(self, raw: bytes) -> None:
        """Send a PDU. All PDUs of one turn of the event loop go out in one write."""
        if not self._to_send:
            self._loop.call_soon(self._flush)
        self._to_send.append(raw)

    def _flush(self) -> None:
        if self._to_send and not self._transport.is_closing():
            self._transport.write(b"".join(self._to_send))
        self._to_send.clear()

    def _time_out(self, answer: asyncio.Future[Pdu]) -> None:
        if not answer.done():
            answer.set_exception(TransientSubmitError("timeout"))

    def _fail_pending(self) -> None:
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(TransientSubmitError("connection_lost"))

    def _take_answer(self, received: Pdu) -> None:
        answer = self._pending.get(received.sequence)
        if answer and not answer.done():
            answer.set_result(received)
        elif received.command == pdu.SUBMIT_SM | pdu.RESPONSE:
            # The submit had timed out, so the message may be sent again although the SMSC accepted it.
            metrics.SMPP_LATE_ANSWERS.labels(self._name).inc()
            log.warning("smpp_late_answer", operator=self._name, status=received.status, id=received.text[:64])

    def _take_request(self, received: Pdu) -> None:
        match received.command:
            case pdu.DELIVER_SM | pdu.DATA_SM:
                if len(self._deliveries) >= _MOST_DELIVERIES:
                    self._send(pdu.response(received, statuses.TEMPORARY_RECEIVER_ERROR, ""))
                    return
                delivery = asyncio.create_task(self._answer_delivery(received))
                self._deliveries.add(delivery)
                delivery.add_done_callback(self._deliveries.discard)
            case pdu.ENQUIRE_LINK:
                self._send(pdu.response(received, statuses.OK))
            case pdu.UNBIND:
                self._send(pdu.response(received, statuses.OK))
                self.end("unbound_by_peer")
            case pdu.ALERT_NOTIFICATION:
                pass  # has no answer
            case _:
                log.warning("smpp_unknown_command", operator=self._name, command=f"0x{received.command:08X}")
                self._send(pdu.pack(pdu.GENERIC_NACK, received.sequence, status=statuses.INVALID_COMMAND))

    async def _answer_delivery(self, received: Pdu) -> None:
        status = await self._deliver(received)
        if not self.reason:
            self._send(pdu.response(received, status, ""))

    async def _keep_alive(self) -> None:
        while True:
            silence = self._loop.time() - self._heard
            if silence < self._settings.enquire_link:
                await asyncio.sleep(self._settings.enquire_link - silence)
                continue
            asked_at = self._loop.time()
            try:
                await self.ask(lambda sequence: pdu.pack(pdu.ENQUIRE_LINK, sequence))
            except TransientSubmitError:
                if self.reason:
                    return
                if self._heard < asked_at:
                    metrics.SMPP_ENQUIRE_LINK_FAILURES.labels(self._name).inc()
                    self.end("enquire_link")
                    self._transport.abort()
                    return
