"""Which operator a number's prefix leads to."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import phonenumbers
import pytest
from phonenumbers import carrier
from phonenumbers.carrierdata import CARRIER_DATA

from apps.sms.errors import OperatorNotFound
from apps.sms.operators import registry
from tests.support.operators import CONFIG


@pytest.mark.parametrize(
    ("number", "operator"),
    [
        ("+989121234567", "mci"),
        ("+989191234567", "mci"),
        ("+989901234567", "mci"),
        ("+989961234567", "mci"),
        ("+989321234567", "mci"),  # Taliya, long since MCI's
        ("+989995123456", "mci"),  # in 0999 the next digit decides
        ("+989991123456", "irancell"),
        ("+989993123456", "fallback"),  # Aptel
        ("+989351234567", "irancell"),
        ("+989011234567", "irancell"),
        ("+989211234567", "fallback"),  # RighTel
        ("+989311234567", "fallback"),  # MTCE, inside Irancell's 093
        ("+14155550123", "fallback"),
        ("+93701234567", "fallback"),
    ],
)
def test_the_prefix_chooses_the_operator(number: str, operator: str) -> None:
    assert registry.route(number, "fallback") == operator


def test_the_default_is_not_remembered_with_the_prefix() -> None:
    assert [registry.route("+989211234567", default) for default in ("mci", "irancell")] == ["mci", "irancell"]


def test_the_cached_prefix_is_long_enough_for_every_carrier_of_iran() -> None:
    operators = {served: operator.name for operator in registry.OPERATORS for served in operator.carriers}
    prefixes = [prefix for prefix in CARRIER_DATA if prefix.startswith("98")]
    assert prefixes
    for prefix in prefixes:
        number = "+" + prefix.ljust(12, "7")
        name = carrier.name_for_valid_number(phonenumbers.parse(number), "en")
        assert registry.route(number, "fallback") == operators.get(name, "fallback")


def test_every_carrier_name_is_one_that_the_library_gives_in_iran() -> None:
    known = {names["en"] for prefix, names in CARRIER_DATA.items() if prefix.startswith("98")}
    for operator in registry.OPERATORS:
        assert operator.carriers <= known


def test_every_operator_is_built_with_its_own_settings() -> None:
    assert set(registry.build(CONFIG)) == {"mci", "irancell"} == set(registry.names(CONFIG))
    assert registry.operator_settings(CONFIG, "mci").receipt_token == "mci-receipt-token"
    assert registry.operator_settings(CONFIG, "irancell").receipt_token == "irancell-receipt-token"


def test_operators_are_built_once_for_a_configuration() -> None:
    built = registry.shared_operators(CONFIG)
    assert registry.shared_operators(CONFIG) is built
    mci = dataclasses.replace(CONFIG.mci, in_flight=7)
    other = dataclasses.replace(CONFIG, mci=mci)
    assert registry.shared_operators(other)["mci"].limits.in_flight == 7
    assert registry.shared_operators(other) is registry.shared_operators(other)


@pytest.mark.parametrize("name", ["kafka", "MCI", "", "__class__"])
def test_there_is_no_other_operator(name: str) -> None:
    with pytest.raises(OperatorNotFound):
        registry.operator_settings(CONFIG, name)


def test_routing_loads_no_http_client() -> None:
    code = "import sys; from apps.sms.operators import registry; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
