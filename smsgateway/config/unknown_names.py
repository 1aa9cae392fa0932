"""Names in the environment that look like settings of the gateway and are none: most are misspelt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from smsgateway.config.problem import Problem

# Variables of other programs and libraries that begin like ours.
_OF_OTHERS: Final = re.compile(
    r"HTTP_PROXY|KAFKA_(OPTS|HEAP_OPTS|HOME|LOG4J_OPTS|JVM_PERFORMANCE_OPTS)|CLICKHOUSE_(DB|USER|PASSWORD)"
    r"|[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP)(_[A-Z]+)?))"  # a cluster's links
)
# A name without a prefix is ours if it is nearly right: ENVIROMENT=production would start in development.
_NEARLY: Final = 0.9
_OPERATOR: Final = re.compile(r"OPERATOR_([A-Z][A-Z0-9]*)_[A-Z0-9_]+")


def unknown_names(
    environment: Mapping[str, str], *, known: Collection[str], prefixes: Collection[str], operators: Collection[str]
) -> Iterator[Problem]:
    """Yield a warning for each set variable that begins with one of our prefixes, or nearly has the name of a setting
    without prefix, and is no setting.

    `operators`: the names of the configured operators.
    """
    short = [name for name in known if not name.startswith(tuple(prefixes))]
    for name in sorted(environment):
        if name in known or not environment[name].strip() or _OF_OTHERS.fullmatch(name):
            continue
        if name.startswith(tuple(prefixes)):
            yield _warning(name, near=difflib.get_close_matches(name, known, n=1, cutoff=0.6), operators=operators)
        elif near := difflib.get_close_matches(name, short, n=1, cutoff=_NEARLY):
            yield _warning(name, near=near, operators=operators)


def _warning(name: str, *, near: list[str], operators: Collection[str]) -> Problem:
    found = _OPERATOR.fullmatch(name)
    if found and found[1].lower() not in operators and not (near and _close(name, near[0])):
        hint = f"OPERATORS_HTTP and OPERATORS_SMPP do not name {found[1].lower()!r}."
    elif near:
        hint = f"Did you mean {near[0]}?"
    else:
        hint = "docs/reference/settings.md lists all settings."
    return Problem("smsgateway.W001", f"{name} is not a setting and has no effect.", hint)


def _close(name: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, name, other).ratio() >= _NEARLY
