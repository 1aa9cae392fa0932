"""The gateway's side of an SMPP operator, and the SMSCs that it meets."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import REGISTRY

from apps.sms.events import DeliveryRequested, ReceiptUnread
from apps.sms.operators.base import Operator, Receipt, Submission, SubmitError
from apps.sms.operators.smpp import pdu
from apps.sms.operators.smpp.client import Smpp
from apps.sms.operators.smpp.pdu import Pdu
from apps.sms.simulator.behaviour import Behaviour
from apps.sms.simulator.server import Simulator
from apps.sms.simulator.smpp import SmppOperator
from smsgateway import config
from tests.support.operators import AT_ONCE, serving, until

NAME = "shatel"
CONFIG, PROBLEMS = config.load(
    {
        "OPERATORS_SMPP": NAME,
        "OPERATOR_SHATEL_HOST": "127.0.0.1",
        "OPERATOR_SHATEL_SYSTEM_ID": "gateway",
        "OPERATOR_SHATEL_PASSWORD": "secret",
        "OPERATOR_SHATEL_TIMEOUT": "60",
        "OPERATOR_SHATEL_REBIND_BASE": "0.02",
        "OPERATOR_SHATEL_REBIND_CAP": "0.1",
        "OPERATOR_SHATEL_USER_REFERENCE": "on",
    }
)
SETTINGS = CONFIG.smpp_operators[NAME]


class Sink:
    """Takes receipts, after as many failures as told, and only while it is open."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.asked = 0
        self.receipts: list[Receipt] = []
        self.unread: list[ReceiptUnread] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, receipt: Receipt | ReceiptUnread) -> None:
        self.asked += 1
        await self.open.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("Kafka is away")
        if isinstance(receipt, ReceiptUnread):
            self.unread.append(receipt)
        else:
            self.receipts.append(receipt)


@asynccontextmanager
async def simulated(behaviour: Behaviour = AT_ONCE, **changes: Any) -> AsyncIterator[SmppOperator]:
    """An SMSC of the simulator; its settings have its port."""
    settings = dataclasses.replace(SETTINGS, **changes)
    simulator = Simulator(
        dataclasses.replace(CONFIG, smpp_operators={NAME: settings}),
        receipts_url="http://127.0.0.1:9/",
        behaviour=behaviour,
        seed=0,
        magic_numbers=True,
        smpp_address=("127.0.0.1", 0),
    )
    async with serving(simulator.application()):
        (operator,) = simulator.smpp.operators
        operator.settings = dataclasses.replace(settings, port=simulator.smpp.port)
        yield operator


@asynccontextmanager
async def bound(settings: config.SmppOperator, sink: Sink | None = None) -> AsyncIterator[Smpp]:
    """The gateway's side, bound."""
    client = Smpp(NAME, settings)
    await client.start(sink or Sink())
    try:
        await connected(client)
        yield client
    finally:
        await client.close()


async def connected(client: Operator, wanted: bool = True) -> None:
    await hold(lambda: client.is_connected is wanted)


async def hold(condition: Callable[[], bool]) -> None:
    """Wait until it does; the test's own time limit ends a wait in vain."""

    async def now() -> bool:
        return condition()

    await until(now)


async def outcome(client: Operator, sent: DeliveryRequested) -> str:
    """`accepted`, or the error's kind and code."""
    try:
        await client.submit(sent)
    except SubmitError as error:
        return f"{type(error).__name__} {error.code}"
    return "accepted"


async def accepted(client: Operator, sent: DeliveryRequested) -> Submission:
    """Submit as the worker does, until it is accepted."""
    while True:
        try:
            return await client.submit(sent)
        except SubmitError:
            await asyncio.sleep(0.01)


def count(metric: str, **labels: str) -> float:
    """A metric's value for the operator."""
    return REGISTRY.get_sample_value(metric, {"operator": NAME, **labels}) or 0.0


class ScriptedSmsc:
    """Keeps every PDU of every connection, and answers each by `answer`, if that gives bytes."""

    def __init__(self, answer: Callable[[Pdu], bytes | None] | None = None) -> None:
        self.pdus: list[Pdu] = []
        self.writers: list[asyncio.StreamWriter] = []
        self._answer = answer or (lambda received: None)

    @asynccontextmanager
    async def listening(
        self, *, context: ssl.SSLContext | None = None, **changes: Any
    ) -> AsyncIterator[config.SmppOperator]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        try:
            yield dataclasses.replace(SETTINGS, port=server.sockets[0].getsockname()[1], **changes)
        finally:
            server.close()
            for writer in self.writers:
                writer.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        buffer = bytearray()
        while data := await reader.read(65_536):
            buffer += data
            for received in pdu.frames(buffer):
                self.pdus.append(received)
                answer = self._answer(received)
                if answer is None and received.command in (pdu.BIND_TRANSCEIVER, pdu.UNBIND, pdu.ENQUIRE_LINK):
                    answer = pdu.response(received, 0, "smsc" if received.command == pdu.BIND_TRANSCEIVER else None)
                if answer:
                    writer.write(answer)
        writer.close()

    def of(self, command: int) -> list[Pdu]:
        return [received for received in self.pdus if received.command == command]
