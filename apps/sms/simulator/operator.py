"""One simulated operator: takes submits, decides what happens to them, remembers and reports them."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_never

import msgspec
from aiohttp import web

from apps.sms.simulator import behaviour as decide
from apps.sms.simulator.behaviour import Behaviour, Dice, Outcome, Receipts
from apps.sms.simulator.dialects import Dialect, Reply, Submit
from apps.sms.simulator.memory import Memory, Record
from apps.sms.simulator.receipts import ReceiptSender
from smsgateway.config import Operator as OperatorSettings


class Pace:
    """A token bucket of one second's submits."""

    def __init__(self) -> None:
        self._tokens: float | None = None
        self._at = time.monotonic()

    def allows(self, per_second: int) -> bool:
        """Take a token if there is one; 0 a second means no limit."""
        if not per_second:
            return True
        now = time.monotonic()
        full = float(per_second)
        self._tokens = full if self._tokens is None else min(full, self._tokens + (now - self._at) * full)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class SimulatedOperator:
    """What stands behind an operator's URL. `run` it before the first submit."""

    def __init__(
        self,
        dialect: Dialect,
        settings: OperatorSettings,
        *,
        receipts_url: str,
        behaviour: Behaviour,
        dice: Dice,
        magic_numbers: bool,
    ) -> None:
        """`receipts_url`: where receipts go, with `{operator}` for the name."""
        self.dialect = dialect
        self._settings = settings
        self._receipts_url = receipts_url.replace("{operator}", dialect.name)
        self._first_behaviour = behaviour
        self._dice = dice
        self._magic_numbers = magic_numbers
        self._forget()

    def _forget(self) -> None:
        self.behaviour = self._first_behaviour
        self.memory = Memory()
        self._pace = Pace()
        self._sender = ReceiptSender(url=self._receipts_url, token=self._settings.receipt_token)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Send receipts while the body runs."""
        self._sender.start()
        try:
            yield
        finally:
            await self._sender.close()

    async def reset(self) -> None:
        """Forget messages, counts and receipts to send, and behave as at the start."""
        await self._sender.close()
        self._forget()
        self._sender.start()

    def summary(self) -> dict[str, int]:
        return {**self.memory.summary(), **self._sender.summary()}

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Handler of the operator's submit address."""
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._settings.token}".encode()):
            return _response(self.dialect.refuse("unauthorized"))
        try:
            submit = self.dialect.read(await request.read())
        except msgspec.MsgspecError:
            return _response(self.dialect.refuse("malformed"))
        attempt = self.memory.tries(submit.reference) + 1
        outcome, receipts = self._decide(submit, attempt)
        operator_message_id = ""
        if outcome in ("accepted", "hung"):
            # Twenty digits of a 64-bit number: often with a leading zero, and more than a float can hold.
            operator_message_id = f"{self._dice.number(self.dialect.name, submit.reference, attempt):020d}"
            self._report(submit, operator_message_id, receipts, attempt)
        self.memory.add(
            Record(
                operator=self.dialect.name,
                reference=submit.reference,
                operator_message_id=operator_message_id,
                recipient=submit.recipient,
                sender=submit.sender,
                text=submit.text,
                outcome=outcome,
                attempt=attempt,
                at=time.time_ns() // 1_000_000,
            )
        )
        await asyncio.sleep(self._dice.seconds(self.behaviour.answer_delay, "answer_delay", submit.reference, attempt))
        match outcome:
            case "accepted":
                return _response(self.dialect.accept(operator_message_id))
            case "hung":
                if request.transport:
                    request.transport.abort()
                return web.Response()  # to nobody
            case "rejected" | "transient" | "throttled":
                return _response(self.dialect.refuse(outcome))
            case never:
                assert_never(never)

    def _decide(self, submit: Submit, attempt: int) -> tuple[Outcome, Receipts]:
        if self._magic_numbers and (scripted := decide.magic(submit.recipient, attempt)):
            return scripted
        receipts = decide.receipts(self.behaviour, self._dice, submit.reference)
        if not self._pace.allows(self.behaviour.max_per_second):
            return "throttled", receipts
        return decide.outcome(self.behaviour, self._dice, submit.reference, attempt), receipts

    def _report(self, submit: Submit, operator_message_id: str, receipts: Receipts, attempt: int) -> None:
        for copy in range(receipts.copies):
            delay = self._dice.seconds(self.behaviour.receipt_delay, f"receipt_delay{copy}", submit.reference, attempt)
            receipt = self.dialect.receipt(
                submit, operator_message_id, delivered=receipts.delivered, at=time.time() + delay
            )
            self._sender.schedule(receipt, delay=delay)


def _response(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status,
        body=msgspec.json.encode(reply.body),
        content_type="application/json",
        headers={"Retry-After": "1"} if reply.status == 429 else None,
    )
