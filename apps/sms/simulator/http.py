"""Simulated operators with an HTTP API."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, assert_never

import msgspec
from aiohttp import web

from apps.sms.simulator.behaviour import TAKEN
from apps.sms.simulator.dialects import Dialect, Reply, Submit
from apps.sms.simulator.operator import Character, Decision, SimulatedOperator
from apps.sms.simulator.receipts import ReceiptSender
from smsgateway.config import Operator as OperatorSettings

_LOOK_SECONDS: Final = 0.05


class HttpOperator(SimulatedOperator):
    """A simulated operator with one of the HTTP APIs."""

    def __init__(
        self, dialect: Dialect, settings: OperatorSettings, *, receipts_url: str, character: Character
    ) -> None:
        """`receipts_url`: where receipts go, with `{operator}` for the name."""
        self.dialect = dialect
        self._settings = settings
        self._receipts_url = receipts_url.replace("{operator}", dialect.name)
        super().__init__(dialect.name, character)

    def _forget(self) -> None:
        super()._forget()
        self._sender = ReceiptSender(url=self._receipts_url, token=self._settings.receipt_token)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        self._sender.start()
        try:
            yield
        finally:
            await self._sender.close()

    async def reset(self) -> None:
        await self._sender.close()
        self._forget()
        self._sender.start()

    def summary(self) -> dict[str, int]:
        return {**self.memory.summary(), **self._sender.summary()}

    def _id_of(self, number: int) -> str:
        # Twenty digits of a 64-bit number: often with a leading zero, and more than a float can hold.
        return f"{number:020d}"

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Handler of the operator's submit address."""
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._settings.token}".encode()):
            return _response(self.dialect.refuse("unauthorized"))
        try:
            submit = self.dialect.read(await request.read())
        except msgspec.MsgspecError:
            return _response(self.dialect.refuse("malformed"))
        decision = self._decide(submit)
        if decision.outcome in TAKEN:
            tried = self._report(submit, decision)
            if decision.receipts.early:
                await asyncio.gather(*(event.wait() for event in tried))
        await asyncio.sleep(self._answer_seconds(submit, decision))
        match decision.outcome:
            case "accepted":
                return _response(self.dialect.accept(self._id_of(decision.number)))
            case "hung":
                if request.transport:
                    request.transport.abort()
                return web.Response()  # to nobody
            case "unanswered":
                # Wait until the client gives up. In aiohttp only the transport shows that.
                while request.transport and not request.transport.is_closing():  # noqa: ASYNC110  # it sets no event
                    await asyncio.sleep(_LOOK_SECONDS)
                return web.Response()  # to nobody
            case "rejected" | "transient" | "throttled":
                return _response(self.dialect.refuse(decision.outcome))
            case never:
                assert_never(never)

    def _report(self, submit: Submit, decision: Decision) -> list[asyncio.Event]:
        """Schedule the receipts; each event is set when one was sent for the first time."""
        return [
            self._sender.schedule(
                self.dialect.receipt(
                    submit,
                    self._id_of(decision.number),
                    delivered=decision.receipts.delivered,
                    at=time.time() + delay,
                ),
                delay=delay,
            )
            for delay in self._receipt_seconds(submit, decision)
        ]


def _response(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status,
        body=msgspec.json.encode(reply.body),
        content_type="application/json",
        headers={"Retry-After": "1"} if reply.status == 429 else None,
    )
