"""Simulated operators over SMPP 3.4: one SMSC on one port, where the system id chooses the operator."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import zoneinfo
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, assert_never

import smpp34

from apps.sms.operators.smpp import alphabets, gsm7, pdu, statuses
from apps.sms.operators.smpp.pdu import Pdu
from apps.sms.simulator.behaviour import TAKEN
from apps.sms.simulator.dialects import Submit
from apps.sms.simulator.operator import Character, Decision, SimulatedOperator
from smsgateway.config import SmppOperator as SmppSettings

_SYSTEM_ID: Final = "simulator"
_ANSWER_SECONDS: Final = 10.0
_FIRST_RETRY: Final = 0.2
_LONGEST_RETRY: Final = 10.0
_BINDS: Final = frozenset({0x01, 0x02, pdu.BIND_TRANSCEIVER})
_RECEIPT_CLASS: Final = 0x04
_REFUSALS: Final = {
    "rejected": statuses.INVALID_DESTINATION,
    "transient": statuses.SYSTEM_ERROR,
    "throttled": statuses.THROTTLED,
}


class SmppOperator(SimulatedOperator):
    """One operator, with all connections that are bound with its system id."""

    def __init__(self, name: str, settings: SmppSettings, character: Character) -> None:
        self.settings = settings
        self.sessions: list[SmscSession] = []
        self._silent = False
        self._receipts: set[asyncio.Task[None]] = set()
        self._bound = asyncio.Event()
        super().__init__(name, character)

    def _forget(self) -> None:
        super()._forget()
        self._sent = self._pending = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._drop_receipts()

    async def reset(self) -> None:
        await self._drop_receipts()
        self._forget()

    async def _drop_receipts(self) -> None:
        for receipt in self._receipts:
            receipt.cancel()
        await asyncio.gather(*self._receipts, return_exceptions=True)

    def summary(self) -> dict[str, int]:
        receipts = {"receipts_sent": self._sent, "receipts_pending": self._pending, "receipts_given_up": 0}
        return {**self.memory.summary(), **receipts, "connections": len(self.sessions)}

    def misbehave(self, how: object) -> None:
        """`unbind` or `drop` every connection; `silence`: send nothing until `speak`. Raises LookupError for anything
        else."""
        match how:
            case "unbind":
                for session in self.sessions:
                    session.send(pdu.pack(pdu.UNBIND, session.next_sequence()))
            case "drop":
                for session in list(self.sessions):
                    session.drop()
            case "silence" | "speak":
                self._silent = how == "silence"
            case _:
                raise LookupError("do is unbind, drop, silence or speak")

    @property
    def is_silent(self) -> bool:
        return self._silent

    def joined(self, session: SmscSession) -> None:
        """Note that a connection is bound."""
        self.sessions.append(session)
        self._bound.set()

    def left(self, session: SmscSession) -> None:
        """Note that a connection has ended."""
        if session in self.sessions:
            self.sessions.remove(session)
        if not self.sessions:
            self._bound.clear()

    def _id_of(self, number: int) -> str:
        form = self.settings.receipt_ids
        if form == "as-is":
            return f"{number:020d}"
        return f"{number:X}" if form in ("hexadecimal", "hex-then-decimal") else str(number)

    def _receipt_id_of(self, number: int) -> str:
        form = self.settings.receipt_ids
        if form == "as-is":
            return f"{number:020d}"
        return f"{number:x}" if form in ("hexadecimal", "decimal-then-hex") else str(number)

    async def submit(self, session: SmscSession, request: Pdu) -> None:
        """Take a submit_sm, and answer it if the decision says so."""
        try:
            sent = smpp34.decode(request.raw)
            if not isinstance(sent, smpp34.SubmitSm):
                raise TypeError("no submit_sm")
            submit = _submit(sent)
        except (smpp34.SmppError, TypeError, UnicodeDecodeError, LookupError):
            session.send(pdu.response(request, statuses.INVALID_LENGTH, ""))
            return
        decision = self._decide(submit)
        wanted = sent.registered_delivery & 3
        if decision.outcome in TAKEN and (wanted == 1 or (wanted == 2 and not decision.receipts.delivered)):
            reports = self._report(sent, submit, decision)
            if decision.receipts.early:
                await asyncio.gather(*reports)
        await asyncio.sleep(self._answer_seconds(submit, decision))
        match decision.outcome:
            case "accepted":
                session.send(pdu.response(request, statuses.OK, self._id_of(decision.number)))
            case "hung":
                session.drop()
            case "unanswered":
                pass
            case "rejected" | "transient" | "throttled":
                session.send(pdu.response(request, _REFUSALS[decision.outcome], ""))
            case never:
                assert_never(never)

    def _report(self, sent: smpp34.SubmitSm, submit: Submit, decision: Decision) -> list[asyncio.Task[None]]:
        reports = []
        for delay in self._receipt_seconds(submit, decision):
            self._pending += 1
            report = asyncio.create_task(self._send_receipt(sent, decision, delay))
            self._receipts.add(report)
            report.add_done_callback(self._receipts.discard)
            reports.append(report)
        return reports

    async def _send_receipt(self, sent: smpp34.SubmitSm, decision: Decision, delay: float) -> None:
        """Send a receipt after `delay` seconds, again until a connection accepts it."""
        await asyncio.sleep(delay)
        receipt = self._receipt(sent, decision)
        retry = _FIRST_RETRY
        while True:
            await self._bound.wait()
            if await self.sessions[0].deliver(receipt) == statuses.OK:
                self._sent += 1
                self._pending -= 1
                return
            await asyncio.sleep(retry)
            retry = min(_LONGEST_RETRY, retry * 2)

    def _receipt(self, sent: smpp34.SubmitSm, decision: Decision) -> smpp34.DeliverSm:
        delivered = decision.receipts.delivered
        receipt_id = self._receipt_id_of(decision.number)
        now = dt.datetime.now(zoneinfo.ZoneInfo(self.settings.receipt_zone or "UTC")).strftime("%y%m%d%H%M%S")
        text = (
            f"id:{receipt_id} sub:001 dlvrd:{int(delivered):03d} submit date:{now} done date:{now} "
            f"stat:{'DELIVRD' if delivered else 'UNDELIV'} err:{'000' if delivered else '027'} text:"
        )
        return smpp34.DeliverSm(
            source_addr=sent.destination_addr,
            destination_addr=sent.source_addr,
            source_addr_ton=sent.dest_addr_ton,
            dest_addr_ton=sent.source_addr_ton,
            esm_class=_RECEIPT_CLASS,
            short_message=text.encode(),
            tlvs=[
                smpp34.Tlv(pdu.TLV_RECEIPTED_MESSAGE_ID, receipt_id.encode() + b"\0"),
                smpp34.Tlv(pdu.TLV_MESSAGE_STATE, bytes([2 if delivered else 5])),
            ],
        )


def _submit(sent: smpp34.SubmitSm) -> Submit:
    """Read a submit_sm. Raises UnicodeDecodeError, or LookupError for a header that is longer than the message."""
    tlvs = {tlv.tag: bytes(tlv.value) for tlv in sent.tlvs}
    content = bytes(sent.short_message) or tlvs.get(pdu.TLV_MESSAGE_PAYLOAD, b"")
    user_data = content[content[0] + 1 :] if sent.esm_class & pdu.UDH_INDICATOR else content
    text = user_data.decode("utf-16-be") if sent.data_coding == alphabets.UCS2_CODING else gsm7.decode(user_data)
    identity = (sent.source_addr, sent.destination_addr, content, tlvs.get(pdu.TLV_SAR_SEGMENT_SEQNUM, b""))
    digest = hashlib.blake2b(repr(identity).encode(), digest_size=8).hexdigest()
    reference = f"{tlvs.get(pdu.TLV_USER_MESSAGE_REFERENCE, b'').hex()}-{digest}"
    return Submit(reference, sent.source_addr, f"+{sent.destination_addr}", text)


class SmscSession(asyncio.Protocol):
    """The SMSC's side of a connection."""

    def __init__(self, operators: Sequence[SmppOperator]) -> None:
        self._operators = operators
        self._operator: SmppOperator | None = None
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._sequence = 0
        self._deliveries: dict[int, asyncio.Future[int]] = {}
        self._submits: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport can be written to

    def connection_lost(self, error: Exception | None) -> None:
        if self._operator:
            self._operator.left(self)
        for delivery in self._deliveries.values():
            if not delivery.done():
                delivery.set_result(statuses.SYSTEM_ERROR)

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            for received in pdu.frames(self._received):
                self._take(received)
        except pdu.BadFrame:
            self.drop()

    def next_sequence(self) -> int:
        """The sequence number of the SMSC's next request."""
        self._sequence += 1
        return self._sequence

    def send(self, raw: bytes) -> None:
        """Send a PDU, unless the operator is silent."""
        if not self._transport.is_closing() and not (self._operator and self._operator.is_silent):
            self._transport.write(raw)

    def drop(self) -> None:
        """Abort the connection."""
        self._transport.abort()

    async def deliver(self, deliver: smpp34.DeliverSm) -> int:
        """Send a deliver_sm; return the answer's command status, or a system error if none comes."""
        sequence = self.next_sequence()
        raw = deliver.encode()
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._deliveries[sequence] = answer
        self.send(raw[:12] + sequence.to_bytes(4) + raw[16:])
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            return statuses.SYSTEM_ERROR
        finally:
            del self._deliveries[sequence]

    def _take(self, received: Pdu) -> None:
        if received.command & pdu.RESPONSE:
            self._take_answer(received)
        elif received.command in _BINDS:
            self._bind(received)
        elif received.command == pdu.ENQUIRE_LINK:
            self.send(pdu.response(received, statuses.OK))
        elif received.command == pdu.UNBIND:
            self.send(pdu.response(received, statuses.OK))
            self._transport.close()
        elif received.command == pdu.SUBMIT_SM and self._operator:
            submit = asyncio.create_task(self._operator.submit(self, received))
            self._submits.add(submit)
            submit.add_done_callback(self._submits.discard)
        else:
            self.send(pdu.pack(pdu.GENERIC_NACK, received.sequence, status=statuses.INVALID_COMMAND))

    def _take_answer(self, received: Pdu) -> None:
        if received.command == pdu.UNBIND | pdu.RESPONSE:
            self._transport.close()
        elif (delivery := self._deliveries.get(received.sequence)) and not delivery.done():
            delivery.set_result(received.status)

    def _bind(self, received: Pdu) -> None:
        try:
            system_id, password = received.texts(2)
        except ValueError:
            system_id = password = ""
        for operator in self._operators:
            if (system_id, password) == (operator.settings.system_id, operator.settings.password):
                if self._operator:
                    self.send(pdu.response(received, statuses.ALREADY_BOUND, _SYSTEM_ID))
                    return
                self._operator = operator
                self.send(pdu.response(received, statuses.OK, _SYSTEM_ID))
                operator.joined(self)
                return
        self.send(pdu.response(received, statuses.INVALID_PASSWORD, _SYSTEM_ID))


class SmppCentre:
    """The port that all simulated SMPP operators share."""

    def __init__(self, operators: Sequence[SmppOperator]) -> None:
        self.operators = operators
        self.port = 0

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[None]:
        """Serve while the body runs; `port` is the actual port. Raises OSError if the port is taken."""
        server = await asyncio.get_running_loop().create_server(lambda: SmscSession(self.operators), host, port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for operator in self.operators:
                operator.misbehave("drop")
            await server.wait_closed()
