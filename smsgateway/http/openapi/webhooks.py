"""Webhooks of the OpenAPI document: the requests that the gateway sends to customers."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from smsgateway.http.openapi.headers import RETRY_AFTER
from smsgateway.http.openapi.operations import KINDS
from smsgateway.http.openapi.schemas import EXAMPLE_ID, reference


class Webhook(NamedTuple):
    """A kind of event that is sent. `name`: the operation's id without its prefix `on`."""

    name: str
    summary: str
    description: str
    event: type[msgspec.Struct]
    example: dict[str, Any]


WEBHOOKS: Final[list[Webhook]] = []
# Differs from the tags of operations: openapi-generator creates a class for each tag, and one would replace the other.
TAG: Final = "webhooks"

_HEADERS: Final = (
    (
        "webhook-id",
        "The event's id. It stays the same when the event is sent again: handle each id once.",
        {"type": "string", "examples": [EXAMPLE_ID]},
    ),
    (
        "webhook-timestamp",
        "When this try was sent, in seconds since 1970. Refuse a time that differs from now by more than five minutes.",
        {"type": "integer", "format": "int64", "examples": [1795507205]},
    ),
    (
        "webhook-signature",
        "Signatures as in Standard Webhooks, separated by spaces: for each secret in use `v1,` and the HMAC-SHA256 of "
        "`id.timestamp.body` in base64. One valid signature is enough.",
        {
            "type": "string",
            "pattern": "^v1,[A-Za-z0-9+/]+=*( v1,[A-Za-z0-9+/]+=*)*$",
            "examples": ["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
        },
    ),
)
_RESPONSES: Final = {
    "2XX": ("The event was received. The gateway does not read the body.", False),
    "410": ("The endpoint is gone. The gateway disables it, and the waiting callbacks fail.", False),
    "429": ("The gateway sends the event again, not before `Retry-After`.", True),
    "503": ("The gateway sends the event again, not before `Retry-After`.", True),
    "default": ("The gateway sends the event again. It does not follow redirects.", False),
}


def webhook(
    name: str, summary: str, *, description: str, event: type[msgspec.Struct], example: dict[str, Any]
) -> Webhook:
    """Register a kind of event. `event`: the struct of the body."""
    found = Webhook(name, summary, description, event, example)
    KINDS.add(event)
    WEBHOOKS.append(found)
    return found


def described(found: Webhook) -> dict[str, Any]:
    """The path item of a webhook."""
    headers = {"headers": {RETRY_AFTER.name: RETRY_AFTER.reference()}}
    return {
        "post": {
            "operationId": f"on{found.name[:1].upper()}{found.name[1:]}",
            "summary": found.summary,
            "description": found.description,
            "tags": [TAG],
            "security": [],
            "parameters": [
                {"name": name, "in": "header", "required": True, "description": description, "schema": schema}
                for name, description, schema in _HEADERS
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": reference(found.event),
                        "examples": {"event": {"value": found.example}},
                    }
                },
            },
            "responses": {
                status: {"description": description, **(headers if waits else {})}
                for status, (description, waits) in _RESPONSES.items()
            },
        }
    }
