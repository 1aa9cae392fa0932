"""The simulator's servers: the operators' HTTP APIs, the SMPP port, and the control API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web
from django.core.management.base import CommandError

from apps.sms.operators.registry import operator_settings
from apps.sms.simulator.behaviour import Behaviour, Dice
from apps.sms.simulator.dialects import DIALECTS
from apps.sms.simulator.http import HttpOperator
from apps.sms.simulator.operator import Character, SimulatedOperator
from apps.sms.simulator.smpp import SmppCentre, SmppOperator
from smsgateway.config import Config
from smsgateway.process import Process

log = structlog.get_logger(__name__)

_BEAT_SECONDS: Final = 5.0
_SHUTDOWN_SECONDS: Final = 5.0


class Simulator:
    """All simulated operators."""

    def __init__(
        self,
        config: Config,
        *,
        receipts_url: str,
        behaviour: Behaviour,
        seed: int,
        magic_numbers: bool,
        smpp_address: tuple[str, int] | None = None,
    ) -> None:
        """`receipts_url`: where delivery receipts go over HTTP, with `{operator}` for the operator's name.

        `smpp_address`: host and port (0 is any free one) of the operators that OPERATORS_SMPP names.
        """
        character = Character(behaviour, Dice(seed), magic_numbers)
        self._http = [
            HttpOperator(
                dialect, operator_settings(config, dialect.name), receipts_url=receipts_url, character=character
            )
            for dialect in DIALECTS
        ]
        self._smpp_address = smpp_address
        named = config.smpp_operators if smpp_address else {}
        self.smpp = SmppCentre([SmppOperator(name, settings, character) for name, settings in named.items()])
        operators: list[SimulatedOperator] = [*self._http, *self.smpp.operators]
        self._operators = {operator.name: operator for operator in operators}

    def application(self) -> web.Application:
        """The web application. Run it once."""
        application = web.Application()
        for operator in self._http:
            application.router.add_post(operator.dialect.path, operator.submit)
        application.router.add_post("/control/behaviour", self._change_behaviour)
        application.router.add_get("/control/messages", self._messages)
        application.router.add_get("/control/summary", self._summary)
        application.router.add_post("/control/reset", self._reset)
        application.router.add_post("/control/smpp", self._change_smpp)
        application.cleanup_ctx.append(self._run)
        return application

    async def _run(self, _application: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for operator in self._operators.values():
                await stack.enter_async_context(operator.run())
            if self._smpp_address:
                host, port = self._smpp_address
                try:
                    await stack.enter_async_context(self.smpp.listening(host, port))
                except OSError as error:
                    raise CommandError(
                        f"operator_simulator: cannot listen on {host}:{port} ({error.strerror}). "
                        "Stop what uses the port or choose another with --smpp-port."
                    ) from None
                log.info("smpp_listening", host=host, port=self.smpp.port)
            yield

    async def _change_smpp(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=dict[str, Any])
            operators = self._chosen(wanted.get("operator"))
            for operator in [each for each in operators if isinstance(each, SmppOperator)]:
                operator.misbehave(wanted.get("do"))
        except (msgspec.MsgspecError, LookupError) as error:
            return _json({"error": str(error)}, status=400)
        return web.Response(status=204)

    async def _change_behaviour(self, request: web.Request) -> web.Response:
        try:
            changes = msgspec.json.decode(await request.read(), type=dict[str, Any])
            chosen = self._chosen(changes.pop("operator", None))
            changed = [
                msgspec.convert(msgspec.to_builtins(operator.behaviour) | changes, Behaviour) for operator in chosen
            ]
        except (msgspec.MsgspecError, LookupError) as error:
            return _json({"error": str(error)}, status=400)
        for operator, behaviour in zip(chosen, changed, strict=True):
            operator.behaviour = behaviour
        return _json({name: operator.behaviour for name, operator in self._operators.items()})

    async def _messages(self, request: web.Request) -> web.Response:
        try:
            chosen = self._chosen(request.query.get("operator"))
        except LookupError as error:
            return _json({"error": str(error)}, status=400)
        reference = request.query.get("reference")
        return _json([record for operator in chosen for record in operator.memory.records(reference)])

    async def _summary(self, _request: web.Request) -> web.Response:
        return _json({name: operator.summary() for name, operator in self._operators.items()})

    async def _reset(self, _request: web.Request) -> web.Response:
        for operator in self._operators.values():
            await operator.reset()
        return web.Response(status=204)

    def _chosen(self, name: object) -> list[SimulatedOperator]:
        """The operator with this name, or all for None. Raises LookupError."""
        if name is None:
            return list(self._operators.values())
        if not isinstance(name, str) or name not in self._operators:
            raise LookupError(f"operators are {', '.join(self._operators)}")
        return [self._operators[name]]


async def serve(application: web.Application, *, host: str, port: int, process: Process) -> None:
    """Listen until the process is asked to stop; port 0 is any free one. Raises CommandError if it is taken."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(stop.set)

    process.on_stop(wake)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise CommandError(
                f"{process.name}: cannot listen on {host}:{port} ({error.strerror}). "
                "Stop what uses the port or choose another with --port."
            ) from None
        log.info("listening", host=host, port=runner.addresses[0][1])
        while not process.stopping.is_set():
            process.beat()
            try:
                await asyncio.wait_for(stop.wait(), _BEAT_SECONDS)
            except TimeoutError:
                continue
    finally:
        await runner.cleanup()


def _json(document: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")
