"""Webhooks of the OpenAPI document: the requests that the gateway sends to customers."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from smsgateway.http.openapi.headers import RETRY_AFTER
from smsgateway.http.openapi.operations import KINDS
from smsgateway.http.openapi.schemas import EXAMPLE_ID, reference


class Webhook(NamedTuple):
    """A kind of event that is sent. `name`: the operation's id is `on` and this."""

    name: str
    summary: str
    description: str
    event: type[msgspec.Struct]
    example: dict[str, Any]


WEBHOOKS: Final[list[Webhook]] = []
# Not that of an operation: openapi-generator makes a class for each tag, and one would replace the other.
TAG: Final = "webhooks"

_HEADERS: Final = (
    (
        "webhook-id",
        "The event's id. It stays the same when the event is sent again: handle each id once.",
        {"type": "string", "examples": [EXAMPLE_ID]},
    ),
    (
        "webhook-timestamp",
        "When this try was sent, in seconds since 1970. Refuse one that is more than five minutes away.",
        {"type": "integer", "format": "int64", "examples": [1795507205]},
    ),
    (
        "webhook-signature",
        "Standard Webhooks: for each secret in use `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64, with "
        "blanks between. One that fits is enough.",
        {
            "type": "string",
            "pattern": "^v1,[A-Za-z0-9+/]+=*( v1,[A-Za-z0-9+/]+=*)*$",
            "examples": ["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
        },
    ),
)
_RESPONSES: Final = {
    "2XX": ("The event is taken. The body is not read.", False),
    "410": ("The endpoint has gone: it is disabled, and what waits for it fails.", False),
    "429": ("The event is sent again later, not before `Retry-After`.", True),
    "503": ("The event is sent again later, not before `Retry-After`.", True),
    "default": ("The event is sent again later. Redirects are not followed.", False),
}


def webhook(
    name: str, summary: str, *, description: str, event: type[msgspec.Struct], example: dict[str, Any]
) -> Webhook:
    """Describe a kind of event. `event`: the struct of the body."""
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
