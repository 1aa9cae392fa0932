"""The events on Kafka: each type one struct with a schema version, encoded as JSON with a `type` field.

Readers ignore fields that they do not know, and every field added later has a default: the previous version reads what
the next one writes, and the other way round. Ids are ULIDs as text, times are milliseconds since 1970 UTC, money is in
minor units. The key of a message's event is the customer's id, so one customer's events keep their order.
"""

from __future__ import annotations

import time
from typing import Annotated
from uuid import UUID

import msgspec

from smsgateway import ids

# Bounds that a reader relies on: an event beyond them is unreadable. Databases would cut or refuse such a value.
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800_000)]  # to the year 2100
Segments = Annotated[int, msgspec.Meta(ge=1, le=255)]  # concatenation numbers parts in one octet
Attempts = Annotated[int, msgspec.Meta(ge=0, le=32_767)]
Pace = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class MessageAccepted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="accepted"):
    """Topic `sms.accepted`: a message was charged and stored. Facts for analytics, no text, no full number."""

    v: int = 1
    message_id: str
    customer_id: str
    accepted_at: Milliseconds
    operator: str
    country: str
    encoding: str
    segments: Segments
    cost: int
    currency: str
    # Of a scheduled message: when it is to be sent.
    due_at: Milliseconds = 0


class DeliveryRequested(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="delivery"):
    """Topics `sms.delivery` and its lanes: the work. All that a worker needs, so that it never asks PostgreSQL.

    `segments_per_second` is the customer's pace; after `expires_at` the message is not submitted any more. On the retry
    topics besides: `attempts` made, `delays` had, the connections that `refused` it, and not to be tried before
    `not_before`.
    """

    v: int = 1
    message_id: str
    customer_id: str
    accepted_at: Milliseconds
    expires_at: Milliseconds
    operator: str
    to: str
    sender: str
    text: str
    encoding: str
    segments: Segments
    cost: int
    segments_per_second: Pace
    request_id: str = ""
    priority: str = "normal"
    attempts: Attempts = 0
    delays: Attempts = 0
    refused: tuple[str, ...] = ()
    not_before: Milliseconds = 0
    # When the relay published it: a message that was held and let go is another copy. On retry topics it stays.
    copy: Milliseconds = 0


class MessageHeld(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="held"):
    """Topic `sms.held`: a worker did not send a message, since its customer is suspended. PostgreSQL keeps it until the
    customer is active again, or the message expires. `copy` is that of the `delivery` which ended with this."""

    v: int = 1
    message_id: str
    customer_id: str
    at: Milliseconds
    copy: Milliseconds
    attempts: Attempts = 0
    delays: Attempts = 0
    refused: tuple[str, ...] = ()


class StatusChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """Topic `sms.status`: a message reached a status (see `apps.sms.statuses`)."""

    v: int = 1
    message_id: str
    customer_id: str
    status: str
    at: Milliseconds
    operator: str
    operator_message_id: str = ""
    error: str = ""
    attempt: Attempts = 0
    segments: int = 0
    cost: int = 0
    # The ids that the operator gave to the parts of a long message after the first.
    part_ids: tuple[str, ...] = ()


class ReceiptReceived(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="receipt"):
    """Topic `sms.receipts`: an operator's receipt that came over its own connection, not yet matched to its message.

    `reference` is our message id, if the operator gave it back; else the operator's own id tells the message.
    Its key is the operator's id.
    """

    v: int = 1
    operator: str
    operator_message_id: str
    reference: str = ""
    status: str
    error: str = ""
    at: Milliseconds


class Refunded(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="refund"):
    """Topic `sms.status`: a message's cost was given back."""

    v: int = 1
    message_id: str
    customer_id: str
    amount: int
    at: Milliseconds


def refunded(customer_id: UUID, message_id: UUID, amount: int) -> Refunded:
    """That this was given back now."""
    now = time.time_ns() // 1_000_000
    return Refunded(message_id=ids.to_text(message_id), customer_id=ids.to_text(customer_id), amount=amount, at=now)


class RouteTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that a route leads to: the lowest preference first, among equals a share by weight."""

    operator: str
    preference: int = 1
    weight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A route as it stands in the table: empty conditions are met by every message (see docs/reference/routing.md)."""

    id: int
    rank: int
    customer_id: str = ""
    prefixes: tuple[str, ...] = ()
    sender: str = ""
    carrier: str = ""
    targets: tuple[RouteTarget, ...]


class RoutesPublished(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="routes"):
    """Topic `sms.routes`: the whole routing table. The event with the highest `version` is the one in force."""

    v: int = 1
    version: int
    routes: tuple[Route, ...]


class RoutesPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="routes_part"):
    """Topic `sms.routes`: a part of a routing table that is too large for one event. `part` is from 0; the table is in
    force when all `parts` of its version are there."""

    v: int = 1
    version: int
    part: int
    parts: int
    routes: tuple[Route, ...]


class CustomersSuspended(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="suspended"):
    """Topic `sms.suspended`: the customers that are suspended, all of them or a part. Their messages are held. The
    highest `version` whose `parts` are all there is in force; `part` is from 0."""

    v: int = 1
    version: int
    part: int
    parts: int
    customer_ids: tuple[str, ...]


StatusTopicEvent = StatusChanged | Refunded
AnyEvent = (
    MessageAccepted
    | DeliveryRequested
    | StatusChanged
    | Refunded
    | ReceiptReceived
    | RoutesPublished
    | RoutesPart
    | CustomersSuspended
    | MessageHeld
)

encode = msgspec.json.Encoder().encode
decode_delivery = msgspec.json.Decoder(DeliveryRequested).decode
decode_status = msgspec.json.Decoder(StatusTopicEvent).decode
decode_settled = msgspec.json.Decoder(StatusTopicEvent | ReceiptReceived | MessageHeld).decode
decode_receipt = msgspec.json.Decoder(ReceiptReceived).decode
decode_accepted = msgspec.json.Decoder(MessageAccepted).decode
decode_routes = msgspec.json.Decoder(RoutesPublished | RoutesPart).decode
decode_suspended = msgspec.json.Decoder(CustomersSuspended).decode
decode_held = msgspec.json.Decoder(MessageHeld).decode
# What decoding raises on bytes that are no such event: msgspec's errors and wrong UTF-8, and nesting without end.
UnreadableEvent = (ValueError, RecursionError)


def is_accepted(event: bytes) -> bool:
    """Whether an encoded event is that a message was accepted: its type is written first."""
    return event.startswith(b'{"type":"accepted"')
