"""Totals of messages in PostgreSQL, computed like the statistics, to compare the two."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from apps.sms import statuses
from smsgateway import ids

# The current status is the furthest one of the log. A message without one is `accepted` or `scheduled`, as in the
# statistics.
_KNOWN: Final = """
WITH message AS (
    SELECT id, customer_id, segments, cost,
           CASE WHEN send_at IS NULL THEN 'accepted' ELSE 'scheduled' END AS begun
      FROM sms_message
     WHERE id >= %(low)s AND id < %(high)s {of_customer}
), log AS (
    SELECT message_id, max(array_position(%(order)s::text[], status)) AS rank, sum(refund) AS refunded,
           max(at) AS at
      FROM sms_statusentry
     WHERE message_id >= %(low)s AND message_id < %(high)s {of_messages}
     GROUP BY message_id
), known AS (
    SELECT message.*, coalesce((%(order)s::text[])[log.rank], message.begun) AS status,
           coalesce(log.refunded, 0)::bigint AS refunded, log.at
      FROM message
      LEFT JOIN log ON log.message_id = message.id
)
"""
# The minute of a ULID: its first 48 bits are milliseconds.
_MINUTE: Final = "('x0000' || replace(left(id::text, 13), '-', ''))::bit(64)::bigint / 60000 * 60"
TOTALS: Final = f"""
{_KNOWN}
SELECT customer_id, {{step}}, status, count(*), sum(segments), sum(cost)::bigint, sum(refunded)::bigint
  FROM known GROUP BY 1, 2, 3
"""
MESSAGES: Final = f"""
{_KNOWN}
SELECT known.id, known.status, known.segments, known.cost, known.refunded, known.at,
       EXISTS (SELECT FROM sms_outboxentry AS waiting WHERE waiting.message_id = known.id)
  FROM known
"""


class Total(NamedTuple):
    """Totals of some messages. `by_status`: sorted pairs of a status and its number of messages."""

    messages: int
    segments: int
    cost: int
    refunded: int
    by_status: tuple[tuple[str, int], ...]


NOTHING: Final = Total(0, 0, 0, 0, ())


class KnownMessage(NamedTuple):
    """A message in PostgreSQL. `changed_at`: the time of its newest status; None without one."""

    status: str
    segments: int
    cost: int
    refunded: int
    changed_at: dt.datetime | None
    in_outbox: bool


def totals(
    *, since: dt.datetime, until: dt.datetime, customer_id: UUID | None = None, by_minute: bool = False
) -> dict[tuple[UUID, int], Total]:
    """Totals of the messages accepted in [since, until), by customer and minute (seconds since 1970) or 0."""
    with connection.cursor() as cursor:
        step = _MINUTE if by_minute else "0"
        cursor.execute(_narrowed(TOTALS, customer_id, step=step), _parameters(since, until, customer_id))
        return added_up(cursor.fetchall())


def added_up(rows: list[tuple[Any, ...]]) -> dict[tuple[UUID, int], Total]:
    """Add up rows of (customer, time, status, messages, segments, cost, refunded) by customer and time."""
    groups: defaultdict[tuple[UUID, int], list[tuple[Any, ...]]] = defaultdict(list)
    for customer_id, time, *rest in rows:
        groups[customer_id, time].append(tuple(rest))
    return {
        key: Total(
            messages=sum(int(row[1]) for row in found),
            segments=sum(int(row[2]) for row in found),
            cost=sum(int(row[3]) for row in found),
            refunded=sum(int(row[4]) for row in found),
            by_status=tuple(sorted((row[0], int(row[1])) for row in found)),
        )
        for key, found in groups.items()
    }


def messages_known(*, since: dt.datetime, until: dt.datetime, customer_id: UUID) -> dict[UUID, KnownMessage]:
    """The customer's messages accepted in [since, until), by id: a few minutes' worth."""
    with connection.cursor() as cursor:
        cursor.execute(_narrowed(MESSAGES, customer_id), _parameters(since, until, customer_id))
        return {message_id: KnownMessage(*rest) for message_id, *rest in cursor.fetchall()}


def _narrowed(query: str, customer_id: UUID | None, **parts: str) -> str:
    """The query for one customer, by the index on its messages, or for all, in one pass over each table."""
    if customer_id is None:
        return query.format(of_customer="", of_messages="", **parts)
    return query.format(
        of_customer="AND customer_id = %(customer)s",
        of_messages="AND message_id IN (SELECT id FROM message)",
        **parts,
    )


def _parameters(since: dt.datetime, until: dt.datetime, customer_id: UUID | None) -> dict[str, Any]:
    return {
        "order": list(statuses.ORDER),
        "low": ids.lowest_id(since),
        "high": ids.lowest_id(until),
        "customer": customer_id,
    }
