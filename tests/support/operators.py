"""Operators on loopback: the simulator, servers that answer as told, and the gateway's side of the receipts."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from apps.sms.events import DeliveryRequested
from apps.sms.operators import documents, registry
from apps.sms.operators.base import InvalidReceipt, Operator, ReadReceipt, Receipt
from apps.sms.simulator.behaviour import Behaviour
from apps.sms.simulator.server import Simulator
from smsgateway import config, ids

Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]

CONFIG, _ = config.load(
    {
        "OPERATOR_MCI_TOKEN": "mci-token",
        "OPERATOR_MCI_RECEIPT_TOKEN": "mci-receipt-token",
        "OPERATOR_IRANCELL_TOKEN": "irancell-token",
        "OPERATOR_IRANCELL_RECEIPT_TOKEN": "irancell-receipt-token",
    }
)
AT_ONCE = Behaviour(receipt_delay=(0, 0))


def message(to: str = "+989121111111", *, text: str = "سلام", encoding: str = "ucs2") -> DeliveryRequested:
    return DeliveryRequested(
        message_id=ids.to_text(ids.new_id()),
        customer_id=ids.to_text(ids.new_id()),
        accepted_at=0,
        expires_at=0,
        operator="mci",
        to=to,
        sender="98100",
        text=text,
        encoding=encoding,
        segments=1,
        cost=1,
        segments_per_second=1,
    )


@asynccontextmanager
async def operator(name: str, url: str, **changes: Any) -> AsyncIterator[Operator]:
    """The gateway's side of an operator, with `url` and other changed settings."""
    settings = dataclasses.replace(registry.operator_settings(CONFIG, name), url=url, **changes)
    built = registry.build(dataclasses.replace(CONFIG, **{name: settings}))[name]
    try:
        yield built
    finally:
        await built.close()


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    async with TestServer(application, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    """A server that answers every request by `handler`."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    async with serving(application) as url:
        yield url


@asynccontextmanager
async def simulating(
    *,
    behaviour: Behaviour = AT_ONCE,
    receipts_url: str | None = None,
    seed: int = 0,
    magic_numbers: bool = True,
) -> AsyncIterator[str]:
    """The simulator; without `receipts_url` nobody takes its receipts."""
    simulator = Simulator(
        CONFIG,
        receipts_url=receipts_url or unreachable_url(),
        behaviour=behaviour,
        seed=seed,
        magic_numbers=magic_numbers,
    )
    async with serving(simulator.application()) as url:
        yield url


def receipts_of(operator: Operator, body: bytes) -> list[ReadReceipt]:
    """What the operator's reader makes of a request's JSON body. Raises InvalidReceipt."""
    try:
        document = documents.decode_document(body)
    except ValueError:
        document = None
    return operator.read_receipts(document)


def receipt_of(operator: Operator, body: bytes) -> Receipt | None:
    """The only receipt in a request's JSON body. Raises InvalidReceipt."""
    (read,) = receipts_of(operator, body)
    if isinstance(read, InvalidReceipt):
        raise read
    return read


class Receiver:
    """The gateway's receipts address: what came, answered with `statuses` in turn and then 204."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.bodies: list[bytes] = []
        self.authorizations: list[str] = []
        self.paths: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.authorizations.append(request.headers["Authorization"])
        self.paths.append(request.path)
        return web.Response(status=self._statuses.pop(0) if self._statuses else 204)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with answering(self.handle) as url:
            yield url + "/v1/operators/{operator}/receipts"


async def control(url: str, path: str, changes: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Ask the simulator's control address: POST with a body, else GET. Returns status and decoded answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.request("GET" if changes is None else "POST", f"{url}/control/{path}", json=changes) as answer,
    ):
        body = await answer.read()
        return answer.status, json.loads(body) if body else None


async def summary(url: str, name: str) -> dict[str, int]:
    _, counts = await control(url, "summary")
    return dict(counts[name])


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait until the condition holds; the test's own time limit ends a wait in vain."""
    while not await condition():  # noqa: ASYNC110  # the other side is a server, it sets no event
        await asyncio.sleep(0.01)


def unreachable_url() -> str:
    return f"http://127.0.0.1:{unused_port()}"


async def settled(url: str, name: str) -> None:
    """Wait until no receipt is left to send."""

    async def nothing_pending() -> bool:
        return (await summary(url, name))["receipts_pending"] == 0

    await until(nothing_pending)
