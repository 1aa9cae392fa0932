"""Bodies of the responses about callbacks, as typed structs."""

from __future__ import annotations

from typing import Literal

import msgspec

from smsgateway.http.openapi import Moment, Ulid

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


class CallbackEntry(msgspec.Struct, rename={"kind": "type"}):
    """A callback and its last try. `error`: why it failed; new values may be added. `next_attempt_at`: the next try."""

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
    """A page of the delivery log, newest first. `next_cursor` gets the next page."""

    callbacks: list[CallbackEntry]
    next_cursor: str | None
