"""What callers send about callbacks, and what they are answered, as typed structs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from apps.customers.callback_urls import LONGEST
from apps.sms.callbacks.enqueue import USUAL
from smsgateway.http.openapi import Moment, Ulid

Status = Literal["submitted", "unknown", "canceled", "expired", "rejected", "failed", "undelivered", "delivered"]
MessageEventType = Literal[
    "message.submitted",
    "message.unknown",
    "message.canceled",
    "message.expired",
    "message.rejected",
    "message.failed",
    "message.undelivered",
    "message.delivered",
]
EventType = Literal[MessageEventType, "balance.low", "callback.test"]


class EndpointRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of `PUT /v1/customers/{id}/callback`."""

    url: Annotated[
        str,
        Meta(
            max_length=LONGEST,
            description="https address of yours.",
            examples=["https://shop.example/sms"],
            extra_json_schema={"format": "uri"},
        ),
    ]
    statuses: Annotated[
        list[Status],
        Meta(min_length=1, max_length=20, description="Statuses to send. Default: every final one, and `unknown`."),
    ] = msgspec.field(default_factory=lambda: list(USUAL))  # type: ignore[arg-type]  # each is one of those
    enabled: Annotated[bool, Meta(description="false: the endpoint is kept and nothing is sent.")] = True


class Secret(msgspec.Struct):
    """A secret that signs. The secret itself is not shown again."""

    created_at: Moment
    expires_at: Moment | None


class Endpoint(msgspec.Struct, kw_only=True):
    """The endpoint. `secret` is in the first answer to a PUT, and nowhere else.

    `paused_until`: all calls have failed lately; then the next one probes whether it is well.
    """

    customer_id: Ulid
    url: str
    statuses: list[Status]
    enabled: bool
    disabled_at: Moment | None
    disabled_reason: str
    paused_until: Moment | None
    secrets: list[Secret]
    secret: str | UnsetType = UNSET


class RotatedSecret(msgspec.Struct):
    """The new secret, this once; those before it sign as well until then."""

    secret: str
    previous_valid_until: Moment


class CallbackEntry(msgspec.Struct, rename={"kind": "type"}):
    """A callback and its last try. `error`: why that failed; new ones may be added. `next_attempt_at`: the next try."""

    id: Ulid
    message_id: Ulid | None
    kind: EventType
    timestamp: Moment
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: Moment | None
    last_attempt_at: Moment | None
    url: str
    http_status: int | None
    error: str


class CallbacksAnswer(msgspec.Struct):
    """A page of the delivery log, the newest first; `next_cursor` brings the next page."""

    callbacks: list[CallbackEntry]
    next_cursor: str | None
