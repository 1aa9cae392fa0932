"""The operators of a configuration, and which of them serves a number."""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
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


# The configuration that `shared_operators` was last called with, and its operators.
_shared: tuple[Config, Mapping[str, Operator]] | None = None


def names(config: Config) -> tuple[str, ...]:
    """The names of all operators of this configuration."""
    return (*(operator.name for operator in _built_in(config)), *config.http_operators, *config.smpp_operators)


def _built_in(config: Config) -> Iterator[type[Mci] | type[Irancell]]:
    """The operators with a package of their own that this configuration uses: in a deployment those with a URL."""
    return (operator for operator in OPERATORS if _settings_of(config, operator).url)


def _settings_of(config: Config, operator: type[Mci] | type[Irancell]) -> OperatorSettings:
    return typing.cast(OperatorSettings, getattr(config, operator.name))


def shared_operators(config: Config) -> Mapping[str, Operator]:
    """Every operator by its name, built once per process and configuration: for reading receipts and limits.

    Do not start or submit with them: connections belong to one event loop. A worker builds its own.
    """
    global _shared
    held = _shared
    if held is None or held[0] is not config:
        held = _shared = config, MappingProxyType(build(config))
    return held[1]


def build(config: Config) -> dict[str, Operator]:
    """Build every operator, by its name. Connections open with `start` or the first submit, in the running loop."""
    built: dict[str, Operator] = {operator.name: operator.from_config(config) for operator in _built_in(config)}
    for name, http_settings in config.http_operators.items():
        built[name] = GenericHttp(name, http_settings)
    if config.smpp_operators:
        from apps.sms.operators.smpp.client import Smpp  # only SMPP operators need its codec

        for name, smpp_settings in config.smpp_operators.items():
            built[name] = Smpp(name, smpp_settings)
    return built


def operator_settings(config: Config, name: str) -> OperatorSettings:
    """The settings of the operator `name`, which sends its receipts over HTTP. Raises OperatorNotFound."""
    by_name = {operator.name: _settings_of(config, operator) for operator in _built_in(config)}
    by_name |= config.http_operators
    if name in config.smpp_operators:
        raise OperatorNotFound(f"{name} sends its receipts over SMPP.")
    if name not in by_name:
        raise OperatorNotFound(f"Operators are {', '.join(by_name) or 'none yet'}.")
    return by_name[name]


def route(e164: str, default: str, *, known: Collection[str] | None = None) -> str:
    """The name of the operator of an E.164 number's prefix, or `default`.

    `known`: the names of the existing operators; a number of another one gets `default`.
    Numbers are portable in Iran: the prefix is where a message goes first, not the truth.
    """
    if not e164.startswith(_IRAN):
        return default
    found = _operator_of(e164[:_PREFIX_LENGTH])
    return found if found and (known is None or found in known) else default


@lru_cache(maxsize=10_000)
def _operator_of(prefix: str) -> str | None:
    number = PhoneNumber(country_code=int(_IRAN), national_number=int(prefix.removeprefix(_IRAN)))
    return _BY_CARRIER.get(carrier.name_for_valid_number(number, "en"))
