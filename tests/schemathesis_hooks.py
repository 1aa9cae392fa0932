"""Hooks of schemathesis: requests are about a customer that exists and days that may be asked for: they get somewhere.

SCHEMATHESIS_HOOKS=tests.schemathesis_hooks SCHEMATHESIS_CUSTOMER=ULID schemathesis … (docs/development.md). What is
generated to be wrong stays wrong: only what has a ULID's or a time's form, or a number's place in a text, is replaced.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from typing import Any

import schemathesis

CUSTOMER = os.environ["SCHEMATHESIS_CUSTOMER"]
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
TIME = re.compile(r"\d{4}-\d\d-\d\d")
PREFIXES = ("912", "935", "921")


def _is_ulid(value: object) -> bool:
    return isinstance(value, str) and ULID.fullmatch(value) is not None


def _number(value: str) -> str:
    """A number in use, another one for another text."""
    hashed = sum(value.encode()) % 10_000_000
    return f"+98{PREFIXES[hashed % len(PREFIXES)]}{hashed:07d}"


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    if _is_ulid(body.get("customer_id")):
        body["customer_id"] = CUSTOMER
    for message in (body, *(body["messages"] if isinstance(body.get("messages"), list) else ())):
        if isinstance(message, dict) and isinstance(message.get("to"), str):
            message["to"] = _number(message["to"])
    if isinstance(body.get("to"), list):
        body["to"] = [_number(to) if isinstance(to, str) else to for to in body["to"]]
    return body


def _with_customer(parameters: Any) -> Any:
    if isinstance(parameters, dict) and _is_ulid(parameters.get("customer_id")):
        parameters["customer_id"] = CUSTOMER
    return parameters


@schemathesis.hook
def map_path_parameters(_context: Any, path_parameters: Any) -> Any:
    return _with_customer(path_parameters)


@schemathesis.hook
def map_query(_context: Any, query: Any) -> Any:
    if isinstance(query, dict):
        _near(query)
    return _with_customer(query)


def _near(query: dict[str, Any]) -> None:
    """A range whose bounds are times becomes one of the last hours, one to 47 of them."""
    bounds = [query.get(name) for name in ("from", "to")]
    if not all(isinstance(bound, str) and TIME.match(bound) for bound in bounds):
        return
    now = dt.datetime.now(tz=dt.UTC)
    hours = sum(str(bounds).encode()) % 47 + 1
    query |= {"from": _text(now - dt.timedelta(hours=hours)), "to": _text(now)}


def _text(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:00Z}"
