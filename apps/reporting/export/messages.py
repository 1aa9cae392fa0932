"""Reads messages from ClickHouse in order, one part of the range at a time.

A part is a run of minutes that holds about PART messages. ClickHouse sorts one part at a time in memory, and this
process holds one block at a time.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from apps.reporting.queries.bounded import bounded_query
from smsgateway.clickhouse import Block, ClickHouse

PART: Final = 250_000
BLOCK: Final = 8_192

# A ULID's text is base 32 of its 128 bits, right-aligned. With four bytes before them, base32Encode aligns them so too.
_ULID: Final = """translate(
    substring(base32Encode(concat('\\0\\0\\0\\0', UUIDStringToNum(toString(message.{column})))), 7),
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', '0123456789ABCDEFGHJKMNPQRSTVWXYZ')"""
COLUMNS: Final[dict[str, str]] = {
    "id": _ULID.format(column="message_id"),
    "customer_id": "%(customer_text)s",
    "accepted_at": "message.accepted_at",
    "status": "message.status",
    "status_at": "greatest(message.status_at, ifNull(message.submitted_at, message.status_at))",
    "operator": "message.last_operator",
    "operator_message_id": "message.operator_message_id",
    "country": "message.country",
    "encoding": "message.encoding",
    "segments": "message.segments",
    "cost": "message.cost",
    "currency": "message.currency",
    "refunded": "message.refunded",
    "error": "message.error",
    "attempts": "message.attempts",
    "submitted_at": "message.submitted_at",
    # Earlier versions stored the operators' own times, which may be earlier than the submit.
    "delivered_at": "if(isNull(message.delivered_at), NULL,"
    " greatest(message.delivered_at, ifNull(message.submitted_at, message.delivered_at)))",
}
"""The columns of an export, each with its SQL."""

_MINUTES: Final = """
    SELECT toUnixTimestamp(minute), count() FROM sms_events
    WHERE customer_id = %(customer_id)s AND type = 'accepted'
      AND minute >= toStartOfMinute(toDateTime(%(since)s, 'UTC')) AND minute < toDateTime(%(until)s, 'UTC')
    GROUP BY minute ORDER BY minute
"""
# The same values as the view sms_messages, for one customer and at a third of the cost: it groups by the message alone,
# and uses anyIf for values that only one event of a message has.
_PART: Final = """
    SELECT {columns} FROM
    (
        SELECT
            message_id,
            anyIf(at, type = 'accepted') AS accepted_at,
            anyIf(event.country, type = 'accepted') AS country,
            anyIf(event.encoding, type = 'accepted') AS encoding,
            anyIf(event.segments, type = 'accepted') AS segments,
            anyIf(event.cost, type = 'accepted') AS cost,
            anyIf(event.currency, type = 'accepted') AS currency,
            argMaxIf(event.status, event.rank, type != 'refund') AS furthest,
            anyIf(event.due_at, type = 'accepted') > toDateTime64(0, 3, 'UTC') AS has_hour,
            if(furthest = 'accepted' AND has_hour, 'scheduled', furthest) AS status,
            argMaxIf(at, event.rank, type != 'refund') AS status_at,
            argMaxIf(event.operator, event.rank, type != 'refund') AS last_operator,
            argMaxIf(event.error, event.rank, type != 'refund') AS error,
            anyIf(event.operator_message_id, event.status = 'submitted') AS operator_message_id,
            max(event.attempt) AS attempts,
            sumIf(event.refunded, type = 'refund') AS refunded,
            nullIf(anyIf(at, event.status = 'submitted'), toDateTime64(0, 3, 'UTC')) AS submitted_at,
            nullIf(anyIf(at, event.status = 'delivered'), toDateTime64(0, 3, 'UTC')) AS delivered_at
        FROM sms_events AS event FINAL
        WHERE customer_id = %(customer_id)s
          AND minute >= toDateTime(%(first)s, 'UTC') AND minute <= toDateTime(%(last)s, 'UTC')
        GROUP BY message_id
        HAVING countIf(type = 'accepted') > 0
    ) AS message
    WHERE message.accepted_at >= fromUnixTimestamp64Milli(toInt64(%(since_ms)s), 'UTC')
      AND message.accepted_at < fromUnixTimestamp64Milli(toInt64(%(until_ms)s), 'UTC')
      {filters}
    ORDER BY message.accepted_at, message.message_id
"""
_FILTERS: Final = {
    "status": "AND message.status = %(status)s",
    "operator": "AND message.last_operator = %(operator)s",
}
_SETTINGS: Final = {
    "max_block_size": BLOCK,
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": 0,
    "format_csv_null_representation": "",
    "do_not_merge_across_partitions_select_final": 1,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The messages of a customer accepted in [since, until). `filters`: `status` and `operator`, both optional."""

    customer_id: UUID
    customer_text: str
    since: dt.datetime
    until: dt.datetime
    filters: dict[str, str]

    def parameters(self) -> dict[str, Any]:
        since, until = self.since.timestamp(), self.until.timestamp()
        return {
            "customer_id": self.customer_id,
            "customer_text": self.customer_text,
            "since": int(since),
            "until": -int(-until // 1),
            "since_ms": round(since * 1000),
            "until_ms": round(until * 1000),
            **self.filters,
        }


def parts(*, database: ClickHouse, selection: Selection) -> list[tuple[int, int]]:
    """The range in parts: the first and the last minute of each, in seconds since 1970. Empty without messages.

    Raises QueryTooSlow or StatisticsUnavailable.
    """
    found: list[tuple[int, int]] = []
    first: int | None = None
    last = held = 0
    for minute, count in bounded_query(database, _MINUTES, selection.parameters()):
        if first is not None and held + count > PART:
            found.append((first, last))
            first, held = None, 0
        first = minute if first is None else first
        last, held = minute, held + count
    return [*found, (first, last)] if first is not None else found


def blocks(
    *, database: ClickHouse, selection: Selection, columns: str, within: list[tuple[int, int]]
) -> Iterator[Block]:
    """The values of `columns` (an SQL list, made from COLUMNS) of the messages in these parts, in blocks.

    Any block may raise ClickHouseError.
    """
    query = _PART.format(columns=columns, filters=" ".join(_FILTERS[name] for name in selection.filters))
    for first, last in within:
        yield from database.stream(
            query,
            selection.parameters() | {"first": first, "last": last},
            settings=_SETTINGS,
            seconds=settings.CONFIG.reporting.export_timeout,
        )
