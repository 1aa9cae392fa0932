"""Builds the OpenAPI document of a service from its described operations."""

from __future__ import annotations

import functools
from typing import Any, Final

from drf_spectacular.generators import SchemaGenerator

from smsgateway import ids, json
from smsgateway.http.openapi import headers, schemas, webhooks
from smsgateway.http.openapi.operations import API_KEY, DESCRIBED, KINDS, REQUESTS, headers_of
from smsgateway.http.openapi.schemas import EXAMPLE_ID

API: Final = "smsgateway.urls.api"
REPORTING: Final = "smsgateway.urls.reporting"

_VALUES: Final = (
    "Amounts are whole minor units of the currency, never fractions. Fields with an `enum` have no other values. "
    "New error codes may be added, and responses may get further fields."
)
ABOUT: Final[dict[str, dict[str, Any]]] = {
    API: {
        "title": "SMS gateway",
        "description": f"Prepaid SMS: each message is charged exactly once and stored before the response. {_VALUES} "
        "Bodies may be compressed (`Content-Encoding: gzip`).",
    },
    REPORTING: {
        "title": "SMS gateway: reports",
        "description": f"Statistics of messages and their cost, exact even after events are replayed. {_VALUES}",
    },
}
_OF_ALL: Final = {
    "contact": {"name": "The operators of this gateway"},
    "license": {"name": "All rights reserved", "identifier": "LicenseRef-All-Rights-Reserved"},
}
_PORTS: Final = {API: 8080, REPORTING: 8081}
_TAGS: Final = {
    "messages": "Send messages and read their status.",
    "money": "Balances, ledgers and statements, in minor units of the currency.",
    "callbacks": "A customer's callback endpoint, and the log of callbacks.",
    webhooks.TAG: "Requests that the gateway sends to a customer's endpoint.",
    "operators": "Delivery receipts, sent by mobile operators.",
    "statistics": "Counts and costs of messages, by time and any grouping.",
}
_SECURITY: Final = {
    API_KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "The customer's API key, if the gateway uses keys (`API_KEYS`).",
    },
    "receiptToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The operator's receipt token.",
    },
}
_PATH_PARAMETERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "customer_id": ("The customer.", {"type": "string", "pattern": ids.PATTERN, "examples": [EXAMPLE_ID]}),
    "message_id": ("The message.", {"type": "string", "pattern": ids.PATTERN, "examples": [EXAMPLE_ID]}),
    "callback_id": ("The callback.", {"type": "string", "pattern": ids.PATTERN, "examples": [EXAMPLE_ID]}),
    "operator": ("The operator's name.", {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$", "examples": ["mci"]}),
}


@functools.cache
def document(urls: str) -> bytes:
    """The OpenAPI document of a service; `urls` is its URL module."""
    generator = SchemaGenerator(urlconf=urls)  # type: ignore[no-untyped-call]  # the library has no types there
    found = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    for methods in found["paths"].values():
        for operation in methods.values():
            _complete(operation)
    made: dict[str, Any] = {
        "openapi": found["openapi"],
        "info": found["info"] | ABOUT[urls] | _OF_ALL,
        "servers": [
            {"url": "/", "description": "The gateway that serves this document"},
            {"url": f"http://127.0.0.1:{_PORTS[urls]}", "description": "`make up` on this machine"},
        ],
        "paths": found["paths"],
    }
    found_schemas = schemas.components(KINDS, requests=REQUESTS)
    if urls == API:
        described = {webhook.name: webhooks.described(webhook) for webhook in webhooks.WEBHOOKS}
        # oapi-codegen leaves out components that only webhooks refer to, so webhooks contain their schemas inline.
        own = schemas.names_in(described, found_schemas) - schemas.names_in(made["paths"], found_schemas)
        made["webhooks"] = schemas.inlined(described, own, found_schemas)
    made["components"] = _components(made, found_schemas)
    used = {tag for methods in found["paths"].values() for operation in methods.values() for tag in operation["tags"]}
    if "webhooks" in made:
        used.add(webhooks.TAG)
    made["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items() if name in used]
    return json.encode(made)


def _complete(operation: dict[str, Any]) -> None:
    """Add what drf-spectacular cannot describe: response headers, links, the schemas of path parameters."""
    described = DESCRIBED[operation["operationId"]]
    for status, response in operation["responses"].items():
        response["headers"] = {header.name: header.reference() for header in headers_of(described, status)}
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True
    if described.links:
        operation["responses"]["200"]["links"] = described.links
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            parameter["description"], parameter["schema"] = _PATH_PARAMETERS[parameter["name"]]


def _components(made: dict[str, Any], found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The components that the document refers to. `found`: all schemas, by name."""
    # Not an `enum`, because each new code would break clients.
    found["Problem"]["properties"]["code"]["x-extensible-enum"] = sorted(
        {
            kind.code
            for methods in made["paths"].values()
            for operation in methods.values()
            for kind in DESCRIBED[operation["operationId"]].problems
        }
    )
    parts = {name: made[name] for name in ("paths", "webhooks") if name in made}
    text = json.encode(parts).decode()
    return {
        "schemas": {name: found[name] for name in sorted(schemas.names_in(parts, found))},
        "headers": {
            header.key: header.component() for header in headers.ALL if f'"#/components/headers/{header.key}"' in text
        },
        "securitySchemes": {name: scheme for name, scheme in _SECURITY.items() if f'{{"{name}":[]}}' in text},
    }
