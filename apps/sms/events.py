"""The events on Kafka: each type one struct with a schema version, encoded as JSON with a `type` field.

Readers ignore fields that they do not know, and every field added later has a default: a version reads the events of
the versions before and after it. Ids are ULIDs as text, times are milliseconds since 1970 UTC, money is in
minor units. A message's event has the customer's id as its key, so one customer's events keep their order.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal, Protocol
from uuid import UUID

import msgspec

from apps.balance.events import AccountOpened, MoneyBooked
from smsgateway import ids

# Bounds that readers rely on: an event beyond them is unreadable. Databases would cut or refuse such a value.
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
    # When a scheduled message is to be sent; 0: it was not scheduled.
    due_at: Milliseconds = 0


class DeliveryRequested(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="delivery"):
    """Topics `sms.delivery` and its lanes: a work order. It has all that a worker needs without asking PostgreSQL.

    `segments_per_second` is the customer's pace. After `expires_at` the message is not submitted. On the retry topics
    it also has the `attempts` made, the number of `delays`, the connections that `refused` it, and `not_before`, the
    time of the next attempt.
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
    # When the relay published it. A message that was held and released is another copy; a retry is the same copy.
    copy: Milliseconds = 0
    # The caller's own data, which an operator's settings may put into a submit (such as the id of a template).
    metadata: dict[str, str] = {}


class MessageHeld(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="held"):
    """Topic `sms.held`: a worker did not send a message because its customer is suspended. PostgreSQL keeps it until
    the customer is active again or it expires. `copy` is that of the `delivery` event that the worker read."""

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
    # The operator's ids of the second and later parts of a long message.
    part_ids: tuple[str, ...] = ()
    # Whose receipt speaks for a long message: first, last, any; else all together.
    speaking_part: str = "all"


class ReceiptReceived(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="receipt"):
    """Topic `sms.receipts`: an operator's receipt that came over its own connection, not yet matched to its message.

    `reference` is our message id, if the operator returned it; else the operator's own id identifies the message. The
    event's key is the operator's id.
    """

    v: int = 1
    operator: str
    operator_message_id: str
    reference: str = ""
    status: str
    error: str = ""
    at: Milliseconds
    # The operator's word for the status, and parameters that its settings keep, in hexadecimal.
    state: str = ""
    tlvs: dict[str, str] = {}


class ReceiptUnread(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="receipt_unread"):
    """Topic `sms.dlq`: what came from an operator as a receipt, with all its octets, because it cannot be read.

    `protocol`: `smpp` (`octets` is the whole PDU) or `http` (the body; `query` and `content_type` as they came). A
    replay publishes it to `sms.receipts`: settlement reads it with the operator's settings of that time.
    """

    v: int = 1
    operator: str
    protocol: Literal["smpp", "http"]
    octets: bytes
    method: str = ""
    content_type: str = ""
    query: str = ""
    reason: str
    # The settings that would read it, as far as known.
    hint: str = ""
    # Whether it was replayed and still could not be read.
    came_back: bool = False
    at: Milliseconds


class Refunded(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="refund"):
    """Topic `sms.status`: a message's cost was refunded."""

    v: int = 1
    message_id: str
    customer_id: str
    amount: int
    at: Milliseconds


class MessageFacts(Protocol):
    """What an event says of a message, such as a row of `sms_message`."""

    @property
    def id(self) -> UUID: ...
    @property
    def customer_id(self) -> UUID: ...
    @property
    def segments(self) -> int: ...
    @property
    def cost(self) -> int: ...


def status_changed(
    message: MessageFacts,
    *,
    status: str,
    at: int,
    operator: str,
    operator_message_id: str = "",
    error: str = "",
    attempt: int = 0,
) -> StatusChanged:
    """The event that a message of PostgreSQL reached a status. `at`: in milliseconds since 1970."""
    return StatusChanged(
        message_id=ids.to_text(message.id),
        customer_id=ids.to_text(message.customer_id),
        status=status,
        at=at,
        operator=operator,
        operator_message_id=operator_message_id,
        error=error,
        attempt=attempt,
        segments=message.segments,
        cost=message.cost,
    )


def refunded(*, customer_id: UUID, message_id: UUID, amount: int, at: int | None = None) -> Refunded:
    """The event that `amount` minor units were refunded. `at`: in milliseconds since 1970; None: now."""
    return Refunded(
        message_id=ids.to_text(message_id),
        customer_id=ids.to_text(customer_id),
        amount=amount,
        at=time.time_ns() // 1_000_000 if at is None else at,
    )


class RouteTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that a route leads to. The lowest preference is tried first; equal ones share by weight."""

    operator: str
    preference: int = 1
    weight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A route of the routing table. Every message meets an empty condition (see docs/reference/routing.md)."""

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
    """Topic `sms.routes`: a part of a routing table that is too large for one event. `part` counts from 0; the table is
    in force when all `parts` of its version have arrived."""

    v: int = 1
    version: int
    part: int
    parts: int
    routes: tuple[Route, ...]


class CustomersSuspended(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="suspended"):
    """Topic `sms.suspended`: the suspended customers, all or a part of them. Their messages are held. The highest
    `version` of which all `parts` have arrived is in force; `part` counts from 0."""

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
    | ReceiptUnread
    | RoutesPublished
    | RoutesPart
    | CustomersSuspended
    | MessageHeld
    | MoneyBooked
    | AccountOpened
)

encode = msgspec.json.Encoder().encode
decode_delivery = msgspec.json.Decoder(DeliveryRequested).decode
decode_status = msgspec.json.Decoder(StatusTopicEvent).decode
decode_settled = msgspec.json.Decoder(StatusTopicEvent | ReceiptReceived | ReceiptUnread | MessageHeld).decode
decode_receipt = msgspec.json.Decoder(ReceiptReceived).decode
decode_unread = msgspec.json.Decoder(ReceiptUnread).decode
decode_accepted = msgspec.json.Decoder(MessageAccepted).decode
decode_routes = msgspec.json.Decoder(RoutesPublished | RoutesPart).decode
decode_suspended = msgspec.json.Decoder(CustomersSuspended).decode
decode_held = msgspec.json.Decoder(MessageHeld).decode
# Raised by decoding bytes that are not such an event: msgspec's errors, invalid UTF-8, too deep nesting.
UnreadableEvent = (ValueError, RecursionError)


def is_accepted(event: bytes) -> bool:
    """Whether an encoded event is a MessageAccepted: the type is written first."""
    return event.startswith(b'{"type":"accepted"')


def is_unread_receipt(event: bytes) -> bool:
    """Whether an encoded event is a ReceiptUnread."""
    return event.startswith(b'{"type":"receipt_unread"')
