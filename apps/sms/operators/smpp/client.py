"""An operator over SMPP 3.4: one transceiver connection, bound again whenever it ends."""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from typing import Final

import smpp34
import structlog

from apps.sms.events import DeliveryRequested, ReceiptUnread
from apps.sms.operators.base import (
    UNREADABLE_RECEIPT,
    InvalidReceipt,
    Limits,
    PermanentSubmitError,
    ReadReceipt,
    ReceiptSink,
    SpeakingPart,
    Submission,
    SubmitError,
    TransientSubmitError,
)
from apps.sms.operators.smpp import statuses
from apps.sms.operators.smpp.bind_errors import Outcome, Rebinding
from apps.sms.operators.smpp.deliveries import BrokenDelivery, delivery_of
from apps.sms.operators.smpp.parts import Dialect, Submits
from apps.sms.operators.smpp.pdu import Pdu
from apps.sms.operators.smpp.receipts import Delivered, ReceiptReader
from apps.sms.operators.smpp.session import BindRefused, Session
from smsgateway import metrics
from smsgateway.config import SmppOperator

log = structlog.get_logger(__name__)

# Seconds between the tries of a long message's part.
_PART_PAUSE: Final = 0.1
_LONGEST_PART_PAUSE: Final = 2.0


class Smpp:
    """See `apps.sms.operators.base.Operator`."""

    def __init__(self, name: str, settings: SmppOperator) -> None:
        self.limits = Limits(in_flight=settings.in_flight, segments_per_second=settings.segments_per_second)
        self._name = name
        self._settings = settings
        self._reader = ReceiptReader(settings)
        self._dialect = Dialect(settings)
        self._speaking_part: SpeakingPart = settings.receipt_part  # type: ignore[assignment]  # one of its choices
        self._meanings = statuses.Meanings(
            transient=settings.transient_statuses,
            permanent=settings.permanent_statuses,
            throttled=settings.throttled_statuses,
        )
        self._session: Session | None = None
        self._binding: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._name

    async def start(self, receipts: ReceiptSink) -> None:
        self._sink = receipts
        metrics.SMPP_BOUND.labels(self._name).set(0)
        metrics.RECEIPTS_UNREADABLE.labels(self._name)  # so that the first one is an increase
        metrics.SMPP_BINDS.labels(self._name, "credentials")
        self._binding = asyncio.create_task(self._keep_bound())

    @property
    def is_connected(self) -> bool:
        return self._session is not None and not self._session.reason

    async def submit(self, message: DeliveryRequested) -> Submission:
        session = self._session
        if session is None or session.reason:
            raise TransientSubmitError("unreachable")
        try:
            submits = Submits(message, self._dialect)
        except ValueError:
            raise PermanentSubmitError("not_encodable") from None
        first = await self._submit_part(session, submits, 0)
        later = [await self._submit_later_part(session, submits, number) for number in range(1, len(submits))]
        return Submission(first, tuple(later), self._speaking_part)

    def read_receipts(self, document: object) -> list[ReadReceipt]:
        raise InvalidReceipt(f"Receipts of {self._name} come over SMPP.", errors=[])

    def read_unread(self, unread: ReceiptUnread) -> list[ReadReceipt]:
        read = self._read(unread.octets)
        if read.receipt is None:
            fault = InvalidReceipt(read.reason or UNREADABLE_RECEIPT, errors=[])
            fault.hint = read.hint
            raise fault
        return [read.receipt]

    async def close(self) -> None:
        """Unbind and close. Submits that are in flight fail."""
        session, self._session = self._session, None
        if self._binding:
            self._binding.cancel()
            await asyncio.gather(self._binding, return_exceptions=True)
            self._binding = None
        if session:
            await session.unbind()
        metrics.SMPP_BOUND.labels(self._name).set(0)

    # The connection

    async def _keep_bound(self) -> None:
        rebinding, longest = Rebinding(self._settings), 0.0
        loop = asyncio.get_running_loop()
        while True:
            outcome: Outcome | None = None
            try:
                session = await self._connect()
            except BindRefused as refused:
                outcome = rebinding.outcome(refused.status)
                self._not_bound(outcome, str(refused))
            except (
                OSError,
                UnicodeError,
                TransientSubmitError,
            ) as error:  # network, TLS, an invalid host name, no answer
                outcome = "unreachable"
                self._not_bound(outcome, str(error) or type(error).__name__)
            else:
                since = loop.time()
                await self._while_bound(session)
                if loop.time() - since > longest:
                    rebinding.lasted()
            delay, longest = rebinding.delay(outcome)
            await asyncio.sleep(delay)

    async def _connect(self) -> Session:
        """Connect and bind. Raises OSError, TransientSubmitError or BindRefused."""
        settings = self._settings
        tls = ssl.create_default_context(cafile=settings.tls_ca_file or None) if settings.tls == "on" else None
        async with asyncio.timeout(settings.timeout):
            _, session = await asyncio.get_running_loop().create_connection(
                lambda: Session(self._name, settings, self._take_delivery), settings.host, settings.port, ssl=tls
            )
        try:
            await session.bind()
        except BaseException:
            session.end("not_bound")
            raise
        return session

    async def _while_bound(self, session: Session) -> None:
        self._session = session
        metrics.SMPP_BOUND.labels(self._name).set(1)
        metrics.SMPP_BINDS.labels(self._name, "bound").inc()
        log.info("smpp_bound", operator=self._name, host=self._settings.host, port=self._settings.port)
        await session.lost.wait()
        self._session = None
        metrics.SMPP_BOUND.labels(self._name).set(0)
        metrics.SMPP_DISCONNECTS.labels(self._name, session.reason).inc()
        log.warning("smpp_disconnected", operator=self._name, reason=session.reason)

    def _not_bound(self, outcome: str, reason: str) -> None:
        metrics.SMPP_BINDS.labels(self._name, outcome).inc()
        log.warning(
            "smpp_not_bound",
            operator=self._name,
            host=self._settings.host,
            port=self._settings.port,
            outcome=outcome,
            reason=reason,
        )

    # Submits

    async def _submit_part(self, session: Session, submits: Submits, number: int) -> str:
        """Submit a part; return its id at the SMSC. Raises SubmitError."""
        async with session.window:
            try:
                answer = await session.ask(functools.partial(submits.pack, number))
            except smpp34.SmppError as error:  # a field that is too long for SMPP
                raise PermanentSubmitError(str(error).split(" ")[0]) from None
        if answer.status != statuses.OK:
            log.debug("smpp_submit_refused", operator=self._name, status=f"0x{answer.status:08X}")
            raise self._meanings.error(answer.status)
        operator_message_id = self._reader.submitted_id(answer.text)
        if not operator_message_id:
            # It was accepted: trying again would send it twice. Its receipt will match no message.
            log.warning("smpp_answer_without_id", operator=self._name)
            metrics.DELIVERY_UNREADABLE_ANSWERS.labels(self._name, "no_id").inc()
        return operator_message_id

    async def _submit_later_part(self, session: Session, submits: Submits, number: int) -> str:
        """Submit a part whose message has accepted parts. A retry of the whole message would send those twice, so this
        part is retried here for a while, as long as the connection lasts."""
        pause = _PART_PAUSE
        for attempt in range(1, self._settings.part_tries + 1):
            try:
                return await self._submit_part(session, submits, number)
            except SubmitError as error:
                last = attempt == self._settings.part_tries or session.reason
                if last or isinstance(error, PermanentSubmitError):
                    log.warning("smpp_message_partly_taken", operator=self._name, parts=number, error=error.code)
                    if isinstance(error, PermanentSubmitError):
                        raise
                    # Not Throttled or QueueFull: those would be retried without limit.
                    concerns = error.concerns if isinstance(error, TransientSubmitError) else None
                    raise TransientSubmitError(error.code, concerns=concerns) from None
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PART_PAUSE, pause * 2)
        raise AssertionError("part_tries is at least 1")

    # Deliveries

    async def _take_delivery(self, received: Pdu) -> int:
        """Take a deliver_sm or data_sm; return the command status of its answer. Never raises.

        What may be a receipt is kept before it is acknowledged, read or not: it would not come again.
        """
        read = self._read(received.raw)
        try:
            if read.receipt is not None:
                await self._sink(read.receipt)
            elif read.reason:
                await self._sink(self._unread(received.raw, read))
                metrics.RECEIPTS_UNREADABLE.labels(self._name).inc()
        except Exception as error:
            self._count("not_kept", reason=repr(error))
            return statuses.TEMPORARY_RECEIVER_ERROR
        if read.receipt is not None:
            metrics.SMPP_DELIVERIES.labels(self._name, read.kind).inc()
        else:
            self._count(read.kind, reason=read.reason, hint=read.hint, length=len(received.raw))
        return statuses.OK

    def _read(self, raw: bytes) -> Delivered:
        try:
            return self._reader.read(delivery_of(raw))
        except BrokenDelivery as error:
            return Delivered("unreadable", None, f"the PDU is damaged: {error}")
        except Exception as error:
            # A fault of ours must not end the connection, and its cause must not be lost.
            log.exception("receipt_reading_failed", operator=self._name)
            return Delivered("unreadable", None, f"it cannot be read: {error!r}"[:200])

    def _unread(self, raw: bytes, read: Delivered) -> ReceiptUnread:
        return ReceiptUnread(
            operator=self._name,
            protocol="smpp",
            octets=raw,
            reason=read.reason,
            hint=read.hint,
            at=time.time_ns() // 1_000_000,
        )

    def _count(self, kind: str, **details: object) -> None:
        metrics.SMPP_DELIVERIES.labels(self._name, kind).inc()
        level = log.debug if kind == "intermediate" else log.info if kind == "message" else log.warning
        level("smpp_delivery", operator=self._name, kind=kind, **details)
