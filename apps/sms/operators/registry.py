"""Which operators there are, and which of them serves a number."""

from __future__ import annotations

import typing
from functools import lru_cache
from typing import Final

from phonenumbers import PhoneNumber, carrier

from apps.sms.errors import OperatorNotFound
from apps.sms.operators.base import Operator
from apps.sms.operators.generic_http import GenericHttp
from apps.sms.operators.irancell import Irancell
from apps.sms.operators.mci import Mci
from smsgateway.config import Config
from smsgateway.config import Operator as OperatorSettings

OPERATORS: Final[tuple[type[Mci] | type[Irancell], ...]] = (Mci, Irancell)

_BY_CARRIER: Final = {served: operator.name for operator in OPERATORS for served in operator.carriers}
_IRAN: Final = "+98"
# A carrier of Iran shows in the first four digits of the national number.
_PREFIX_LENGTH: Final = len(_IRAN) + 4


def build(config: Config) -> dict[str, Operator]:
    """Every operator by its name. Connections open with `start` or the first submit, in the loop that runs then."""
    built: dict[str, Operator] = {operator.name: operator.from_config(config) for operator in OPERATORS}
    for name, http_settings in config.http_operators.items():
        built[name] = GenericHttp(name, http_settings)
    if config.smpp_operators:
        from apps.sms.operators.smpp.client import Smpp  # its codec is of no use to who has no such operator

        for name, smpp_settings in config.smpp_operators.items():
            built[name] = Smpp(name, smpp_settings)
    return built


def operator_settings(config: Config, name: str) -> OperatorSettings:
    """The settings of the operator `name`, who sends receipts over HTTP. Raises OperatorNotFound."""
    by_name = {operator.name: typing.cast(OperatorSettings, getattr(config, operator.name)) for operator in OPERATORS}
    by_name |= config.http_operators
    if name in config.smpp_operators:
        raise OperatorNotFound(f"{name} sends its receipts over SMPP.")
    if name not in by_name:
        raise OperatorNotFound(f"Operators are {', '.join(by_name)}.")
    return by_name[name]


def route(e164: str, default: str) -> str:
    """The name of the operator of an E.164 number's prefix, or `default`.

    Numbers are portable in Iran: the prefix is where a message goes first, not the truth.
    """
    if not e164.startswith(_IRAN):
        return default
    return _operator_of(e164[:_PREFIX_LENGTH]) or default


@lru_cache(maxsize=10_000)
def _operator_of(prefix: str) -> str | None:
    number = PhoneNumber(country_code=int(_IRAN), national_number=int(prefix.removeprefix(_IRAN)))
    return _BY_CARRIER.get(carrier.name_for_valid_number(number, "en"))
