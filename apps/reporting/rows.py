"""Events as rows of `sms_events`: what a value of Kafka means in ClickHouse, and which mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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


class UnreadableEvent(Exception):
    """The value is no event that this version knows, or does not fit its columns"""


def read(value: bytes, *, decode: Decoder) -> Row:
    """The row of an event as Kafka holds it: values in the order of COLUMNS, times as numbers.

    One value that ClickHouse cannot take would stop its whole batch for ever, so every bound is checked here.
    Raises UnreadableEvent with the reason.
    """
    try:
        return _row(decode(value))
    # ValueError: of the encoding, the JSON, the schema, an id, a bound.
    except (ValueError, RecursionError) as error:
        raise UnreadableEvent(str(error)) from error


def _row(event: ReportedEvent) -> Row:
    customer_id, message_id = ids.from_text(event.customer_id), ids.from_text(event.message_id)
    created = _bounded("the time in message_id", ids.milliseconds(message_id), _MAX_MILLISECONDS)
    key = customer_id, created // 60_000 * 60, message_id
    match event:
        case events.MessageAccepted():
            return (
                *key,
                "accepted",
                statuses.ACCEPTED,
                statuses.RANK[statuses.ACCEPTED],
                _bounded("accepted_at", event.accepted_at, _MAX_MILLISECONDS),
                _bounded("due_at", event.due_at, _MAX_MILLISECONDS),
                event.operator,
                "",
                event.country,
                event.encoding,
                "",
                0,
                _bounded("segments", event.segments, _MAX_UINT16),
                _bounded("cost", event.cost, _MAX_INT64),
                0,
                event.currency,
            )
        case events.StatusChanged():
            if event.status not in statuses.RANK:
                raise ValueError(f"status {event.status!r} is not known")
            return (
                *key,
                "status",
                event.status,
                statuses.RANK[event.status],
                _bounded("at", event.at, _MAX_MILLISECONDS),
                0,
                event.operator,
                event.operator_message_id,
                "",
                "",
                event.error,
                _bounded("attempt", event.attempt, _MAX_UINT16),
                _bounded("segments", event.segments, _MAX_UINT16),
                _bounded("cost", event.cost, _MAX_INT64),
                0,
                "",
            )
        case events.Refunded():
            at = _bounded("at", event.at, _MAX_MILLISECONDS)
            refunded = _bounded("amount", event.amount, _MAX_INT64)
            return (*key, "refund", "", 0, at, 0, "", "", "", "", "", 0, 0, 0, refunded, "")


def _bounded(name: str, value: int, maximum: int) -> int:
    if not 0 <= value <= maximum:
        raise ValueError(f"{name} is {value}, not between 0 and {maximum}")
    return value
