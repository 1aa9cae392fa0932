"""What callers send about callbacks, and what they are answered, as typed structs."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from apps.customers.callback_urls import LONGEST
from apps.sms.callbacks.enqueue import USUAL

Status = Literal["submitted", "unknown", "canceled", "expired", "rejected", "failed", "undelivered", "delivered"]


class EndpointRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of `PUT /v1/customers/{id}/callback`."""

    url: Annotated[
        str, Meta(max_length=LONGEST, description="https address of yours.", examples=["https://shop.example/sms"])
    ]
    statuses: Annotated[
        list[Status],
        Meta(min_length=1, max_length=20, description="What it is told of; if left out: every end, and `unknown`."),
    ] = msgspec.field(default_factory=lambda: list(USUAL))  # type: ignore[arg-type]  # each is one of those
    enabled: Annotated[bool, Meta(description="false: it is kept and told nothing.")] = True


class Secret(msgspec.Struct):
    """That a secret signs; the secret itself is not shown again."""

    created_at: dt.datetime
    expires_at: dt.datetime | None


class Endpoint(msgspec.Struct, kw_only=True):
    """The endpoint. `secret` is in the first answer to a PUT, and nowhere else.

    `paused_until`: all calls have failed lately; then the next one probes whether it is well.
    """

    customer_id: str
    url: str
    statuses: list[str]
    enabled: bool
    disabled_at: dt.datetime | None
    disabled_reason: str
    paused_until: dt.datetime | None
    secrets: list[Secret]
    secret: str | UnsetType = UNSET


class RotatedSecret(msgspec.Struct):
    """The new secret, this once; those before it sign as well until then."""

    secret: str
    previous_valid_until: dt.datetime


class CallbackTold(msgspec.Struct, rename={"kind": "type"}):
    """A callback and its last try. `error` says why that failed; `next_attempt_at`: when the next one follows."""

    id: str
    message_id: str | None
    kind: str
    timestamp: dt.datetime
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: dt.datetime | None
    last_attempt_at: dt.datetime | None
    url: str
    http_status: int | None
    error: str


class CallbacksAnswer(msgspec.Struct):
    """A page of the delivery log, the newest first; `next_cursor` brings the next page."""

    callbacks: list[CallbackTold]
    next_cursor: str | None
