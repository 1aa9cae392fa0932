"""Events as rows of `sms_events`: what a value of Kafka means in ClickHouse, and which mean nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from apps.sms import events, statuses
from smsgateway import ids

Row = tuple[Any, ...]
ReportedEvent = events.MessageAccepted | events.StatusChanged | events.Refunded
Decoder = Callable[[bytes], ReportedEvent]

COLUMNS: Final = (
    "customer_id",
    "minute",
    "message_id",
    "type",
    "status",
    "rank",
    "at",
    "due_at",
    "operator",
    "operator_message_id",
    "country",
    "encoding",
    "error",
    "attempt",
    "segments",
    "cost",
    "refunded",
    "currency",
)
INSERT: Final = f"INSERT INTO sms_events ({', '.join(COLUMNS)}) VALUES"
CUSTOMER: Final = COLUMNS.index("customer_id")
MINUTE: Final = COLUMNS.index("minute")
TYPE: Final = COLUMNS.index("type")
AT: Final = COLUMNS.index("at")

_MAX_MILLISECONDS: Final = 2**32 * 1000 - 1  # DateTime ends in 2106
_MAX_UINT16: Final = 2**16 - 1
_MAX_INT64: Final = 2**63 - 1
# Many events are of few customers.
_customer: Final = functools.lru_cache(maxsize=65_536)(ids.from_text)


class UnreadableEvent(Exception):
    """The value is no event that this version knows, or does not fit its columns"""


def read(value: bytes, *, decode: Decoder) -> Row:
    """The row of an event as Kafka holds it: values in the order of COLUMNS, times as numbers.

    One value that ClickHouse cannot take would stop its whole batch for ever, so every bound that the event's own type
    does not set is checked here. Raises UnreadableEvent with the reason.
    """
    try:
        event = decode(value)
        return _ROWS[type(event)](event)
    # ValueError: of the encoding, the JSON, the schema, an id, a bound.
    except (ValueError, RecursionError) as error:
        raise UnreadableEvent(str(error)) from error


def columns(lines: Sequence[Row]) -> list[tuple[Any, ...]]:
    """The rows column by column."""
    return list(zip(*lines, strict=True))


def _accepted(event: events.MessageAccepted) -> Row:
    customer_id, message_id = _customer(event.customer_id), ids.from_text(event.message_id)
    return (
        customer_id,
        _minute(message_id),
        message_id,
        "accepted",
        statuses.ACCEPTED,
        statuses.RANK[statuses.ACCEPTED],
        event.accepted_at,
        event.due_at,
        event.operator,
        "",
        event.country,
        event.encoding,
        "",
        0,
        event.segments,
        _bounded("cost", event.cost, _MAX_INT64),
        0,
        event.currency,
    )


def _status(event: events.StatusChanged) -> Row:
    customer_id, message_id = _customer(event.customer_id), ids.from_text(event.message_id)
    rank = statuses.RANK.get(event.status)
    if rank is None:
        raise ValueError(f"status {event.status!r} is not known")
    return (
        customer_id,
        _minute(message_id),
        message_id,
        "status",
        event.status,
        rank,
        event.at,
        0,
        event.operator,
        event.operator_message_id,
        "",
        "",
        event.error,
        event.attempt,
        _bounded("segments", event.segments, _MAX_UINT16),
        _bounded("cost", event.cost, _MAX_INT64),
        0,
        "",
    )


def _refund(event: events.Refunded) -> Row:
    customer_id, message_id = _customer(event.customer_id), ids.from_text(event.message_id)
    refunded = _bounded("amount", event.amount, _MAX_INT64)
    return (
        *(customer_id, _minute(message_id), message_id),
        *("refund", "", 0, event.at, 0, "", "", "", "", "", 0, 0, 0),
        *(refunded, ""),
    )


_ROWS: Final[dict[type, Callable[[Any], Row]]] = {
    events.MessageAccepted: _accepted,
    events.StatusChanged: _status,
    events.Refunded: _refund,
}


def _minute(message_id: UUID) -> int:
    """When the message was accepted, to the minute, in seconds since 1970."""
    return _bounded("the time in message_id", ids.milliseconds(message_id), _MAX_MILLISECONDS) // 60_000 * 60


def _bounded(name: str, value: int, maximum: int) -> int:
    if not 0 <= value <= maximum:
        raise ValueError(f"{name} is {value}, not between 0 and {maximum}")
    return value
