"""Durations in settings: a number in the setting's own unit, or a number with a unit: 500ms, 30s, 15m, 72h, 7d."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_SECONDS: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
}
UNITS: Final = {
    "milliseconds": _SECONDS["ms"],
    "seconds": _SECONDS["s"],
    "minutes": _SECONDS["m"],
    "hours": _SECONDS["h"],
    "days": _SECONDS["d"],
}
"""The units in which settings are declared, in seconds."""
_FORM: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|min|m|h|d)")


def in_unit(text: str, unit: str) -> str:
    """The number of `unit` (a key of UNITS) in a duration such as `72h`, as text. Returns other texts unchanged."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        return text
    return f"{(Decimal(found[1]) * _SECONDS[found[2]] / UNITS[unit]).normalize():f}"
