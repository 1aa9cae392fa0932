"""Turns Kafka values into rows of `sms_events`, and refuses those that ClickHouse could not store."""

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
_RANK: Final = statuses.RANK
# Cached, because most events belong to few customers.
_customer: Final = functools.lru_cache(maxsize=65_536)(ids.from_text)


class UnreadableEvent(Exception):
    """The value is not an event that this version knows, or does not fit its columns"""


def read(value: bytes, *, decode: Decoder) -> Row:
    """The row of an event: values in the order of COLUMNS, times as numbers.

    A single value that ClickHouse cannot store would block its whole batch forever, so this checks every bound that the
    event's own type does not set. Raises UnreadableEvent with the reason.
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
    message_id, cost = ids.from_text(event.message_id), event.cost
    if not 0 <= cost <= _MAX_INT64:
        raise _out_of_range("cost", cost, _MAX_INT64)
    return (
        _customer(event.customer_id),
        _minute(message_id),
        message_id,
        "accepted",
        statuses.ACCEPTED,
        _RANK[statuses.ACCEPTED],
        event.accepted_at,
        event.due_at,
        event.operator,
        "",
        event.country,
        event.encoding,
        "",
        0,
        event.segments,
        cost,
        0,
        event.currency,
    )


def _status(event: events.StatusChanged) -> Row:
    message_id, status, segments, cost = ids.from_text(event.message_id), event.status, event.segments, event.cost
    if status not in _RANK:
        raise ValueError(f"status {status!r} is not known")
    if not 0 <= segments <= _MAX_UINT16:
        raise _out_of_range("segments", segments, _MAX_UINT16)
    if not 0 <= cost <= _MAX_INT64:
        raise _out_of_range("cost", cost, _MAX_INT64)
    return (
        _customer(event.customer_id),
        _minute(message_id),
        message_id,
        "status",
        status,
        _RANK[status],
        event.at,
        0,
        event.operator,
        event.operator_message_id,
        "",
        "",
        event.error,
        event.attempt,
        segments,
        cost,
        0,
        "",
    )


def _refund(event: events.Refunded) -> Row:
    message_id = ids.from_text(event.message_id)
    if not 0 <= event.amount <= _MAX_INT64:
        raise _out_of_range("amount", event.amount, _MAX_INT64)
    return (
        *(_customer(event.customer_id), _minute(message_id), message_id),
        *("refund", "", 0, event.at, 0, "", "", "", "", "", 0, 0, 0),
        *(event.amount, ""),
    )


_ROWS: Final[dict[type, Callable[[Any], Row]]] = {
    events.MessageAccepted: _accepted,
    events.StatusChanged: _status,
    events.Refunded: _refund,
}


def _minute(message_id: UUID) -> int:
    """When the message was accepted, to the minute, in seconds since 1970."""
    milliseconds = ids.milliseconds(message_id)
    if milliseconds > _MAX_MILLISECONDS:
        raise _out_of_range("the time in message_id", milliseconds, _MAX_MILLISECONDS)
    return milliseconds // 60_000 * 60


def _out_of_range(name: str, value: int, maximum: int) -> ValueError:
    return ValueError(f"{name} is {value}, not between 0 and {maximum}")
