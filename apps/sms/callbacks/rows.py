"""The rows of callbacks as the worker sees them: claimed for a time, and what came of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection

from smsgateway import ids, json
from smsgateway.batch_delete import rows_delete

# Customers in turn, each with so many rows as it may still have in flight: one with a million rows, or with an endpoint
# that never answers, takes no other's place. `waiting` steps from customer to customer along the index of pending rows
# (customer_id, next_at); `after` is where the round before ended, so that all have their turn when places are few.
_CLAIM: Final = """
WITH RECURSIVE waiting AS (
    (SELECT customer_id FROM sms_callback WHERE status = 'pending' ORDER BY customer_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.customer_id FROM sms_callback AS next
             WHERE next.status = 'pending' AND next.customer_id > waiting.customer_id
             ORDER BY next.customer_id LIMIT 1)
      FROM waiting WHERE waiting.customer_id IS NOT NULL
),
turn AS MATERIALIZED (
    SELECT waiting.customer_id, %(per_customer)s - coalesce(busy.count, 0) AS places
      FROM waiting
      LEFT JOIN json_to_recordset(%(busy)s::json) AS busy (customer_id uuid, count int) USING (customer_id)
     WHERE waiting.customer_id IS NOT NULL
     ORDER BY waiting.customer_id <= %(after)s::uuid, waiting.customer_id
),
due AS MATERIALIZED (
    SELECT picked.id
      FROM turn
     CROSS JOIN LATERAL (
        SELECT id FROM sms_callback
         WHERE status = 'pending' AND customer_id = turn.customer_id AND next_at <= statement_timestamp()
         ORDER BY next_at
         LIMIT greatest(turn.places, 0)
           FOR UPDATE SKIP LOCKED) AS picked
     LIMIT %(places)s
),
claimed AS (
    -- By an array: a join would be planned by a guess at how many rows are due, and might read the whole table.
    UPDATE sms_callback
       SET next_at = statement_timestamp() + make_interval(secs => %(lease)s)
     WHERE id = ANY (ARRAY(SELECT id FROM due))
    RETURNING *
)
SELECT claimed.id, claimed.customer_id, claimed.message_id, claimed.event, claimed.at, claimed.url, claimed.attempts,
       claimed.next_at, CASE WHEN endpoint.disabled_at IS NULL THEN endpoint.url END, claimed.data::text
  FROM claimed
  LEFT JOIN customers_callbackendpoint AS endpoint ON endpoint.customer_id = claimed.customer_id
"""
# The lease's end tells whose row it is: who took longer than the lease, or sent while somebody asked for it to be sent
# again, changes nothing.
_FINISH: Final = """
UPDATE sms_callback AS callback
   SET status = outcome.status,
       attempts = callback.attempts + 1,
       next_at = statement_timestamp() + make_interval(secs => outcome.delay),
       last_at = outcome.at,
       last_url = outcome.url,
       last_http_status = outcome.http_status,
       last_error = outcome.error
  FROM json_to_recordset(%s::json) AS outcome
       (id uuid, lease timestamptz, status text, delay float8, at timestamptz, url text, http_status smallint,
        error text)
 WHERE callback.id = outcome.id AND callback.status = 'pending' AND callback.next_at = outcome.lease
"""
_RELEASE: Final = """
UPDATE sms_callback AS callback
   SET next_at = statement_timestamp()
  FROM json_to_recordset(%s::json) AS claimed (id uuid, lease timestamptz)
 WHERE callback.id = claimed.id AND callback.status = 'pending' AND callback.next_at = claimed.lease
"""
_WAITING: Final = """
SELECT count(*), coalesce(extract(epoch FROM statement_timestamp() - min(next_at)), 0)
  FROM sms_callback
 WHERE status = 'pending'
"""
# In batches: each statement ends soon and holds few rows. An id begins with its time, so old rows are first by id.
_PURGE: Final = """
DELETE FROM sms_callback
 WHERE id = ANY (ARRAY(
    SELECT id FROM sms_callback WHERE id < %(before)s AND status <> 'pending' ORDER BY id LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
"""
NOBODY: Final = UUID(int=0)


class Claimed(NamedTuple):
    """A row that is ours until `lease`. `url`: the message's own; `endpoint_url`: the customer's, if it is enabled.

    `data`: JSON of what is told, if it is not of a message.
    """

    id: UUID
    customer_id: UUID
    message_id: UUID | None
    event: str
    at: dt.datetime
    url: str
    attempts: int
    lease: dt.datetime
    endpoint_url: str | None
    data: str | None = None

    @property
    def target(self) -> str | None:
        """Where it goes; None if its customer's endpoint is none or disabled."""
        return self.url or self.endpoint_url


class Outcome(msgspec.Struct, frozen=True):
    """What came of a try. `delay`: after so many seconds it is due again, if it is `pending`."""

    id: UUID
    lease: dt.datetime
    status: str
    at: dt.datetime
    url: str
    error: str
    http_status: int | None = None
    delay: float | None = None


def claim(
    *, places: int, per_customer: int, busy: Mapping[UUID, int], after: UUID, lease_seconds: float
) -> list[Claimed]:
    """Up to `places` due rows, ours for `lease_seconds`; of a customer so many as `per_customer` leaves it.

    `busy`: how many of each customer are in flight here. `after`: the customer that had the last turn.
    """
    parameters: dict[str, Any] = {
        "places": places,
        "per_customer": per_customer,
        "busy": json.encode([{"customer_id": key, "count": count} for key, count in busy.items()]).decode(),
        "after": after,
        "lease": lease_seconds,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, parameters)
        return [Claimed(*row) for row in cursor.fetchall()]


def finish(outcomes: Sequence[Outcome]) -> None:
    """Record what came of claimed rows."""
    with connection.cursor() as cursor:
        cursor.execute(_FINISH, [json.encode(outcomes).decode()])


def release(claimed: Sequence[Claimed]) -> None:
    """Give rows back at once, untried."""
    told = [{"id": row.id, "lease": row.lease} for row in claimed]
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, [json.encode(told).decode()])


def waiting() -> tuple[int, float]:
    """How many rows are pending, and for how many seconds the oldest one is due; below 0 if none is yet."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        count, age = cursor.fetchone()
        return count, float(age)


def purge(*, before: dt.datetime) -> int:
    """Delete what was noted before and is not pending, in batches; how many rows that was."""
    return rows_delete(_PURGE, {"before": ids.lowest_id(before)})
