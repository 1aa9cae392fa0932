"""Hooks of schemathesis: requests that are about somebody are about a customer that exists, so that they get somewhere.

SCHEMATHESIS_HOOKS=tests.schemathesis_hooks SCHEMATHESIS_CUSTOMER=ULID schemathesis … (docs/development.md). What is
generated to be wrong stays wrong: only what has a ULID's form, or a number's place in a text, is replaced.
"""

from __future__ import annotations

import os
import re
from typing import Any

import schemathesis

CUSTOMER = os.environ["SCHEMATHESIS_CUSTOMER"]
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
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
    return _with_customer(query)
