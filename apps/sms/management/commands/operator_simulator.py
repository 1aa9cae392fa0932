"""`manage.py operator_simulator`: see `apps.sms.simulator`."""

from __future__ import annotations

import argparse
import asyncio
import typing
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.sms import simulator
from apps.sms.simulator.behaviour import Behaviour
from apps.sms.simulator.server import Simulator, serve
from smsgateway.process import running


class Command(BaseCommand):
    help = simulator.__doc__ or ""
    requires_system_checks = ()  # it uses no other part of the gateway

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs["formatter_class"] = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8090, help="0 takes a free port and logs it.")
        parser.add_argument(
            "--smpp-port",
            type=int,
            help="Also play the operators of OPERATORS_SMPP, on this port; 0 takes a free port and logs it.",
        )
        parser.add_argument(
            "--receipts-url",
            default="http://127.0.0.1:8080/v1/operators/{operator}/receipts",
            help="Where delivery receipts are sent.",
        )
        parser.add_argument("--seed", type=int, default=0, help="Decides which messages fail.")
        parser.add_argument("--magic-numbers", action=argparse.BooleanOptionalAction, default=True)
        hints = typing.get_type_hints(Behaviour, include_extras=True)
        for field in msgspec.structs.fields(Behaviour):
            span = isinstance(field.default, tuple)
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                help=hints[field.name].__metadata__[-1].description,
                default=field.default,
                nargs=2 if span else None,
                metavar=("MIN", "MAX") if span else "N",
            )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        names = [field.name for field in msgspec.structs.fields(Behaviour)]
        try:
            behaviour = msgspec.convert({name: options[name] for name in names}, Behaviour, strict=False)
        except msgspec.ValidationError as error:
            raise CommandError(f"operator_simulator: {error}.") from None
        smpp_port = options["smpp_port"]
        if smpp_port is not None and not settings.CONFIG.smpp_operators:
            raise CommandError("operator_simulator: --smpp-port plays the operators of OPERATORS_SMPP; name one there.")
        application = Simulator(
            settings.CONFIG,
            receipts_url=options["receipts_url"],
            behaviour=behaviour,
            seed=options["seed"],
            magic_numbers=options["magic_numbers"],
            smpp_address=None if smpp_port is None else (options["host"], smpp_port),
        ).application()
        with running("operator_simulator") as process:
            asyncio.run(serve(application, host=options["host"], port=options["port"], process=process))
