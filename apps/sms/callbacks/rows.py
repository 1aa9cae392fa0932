"""The rows of callbacks as the worker sees them: claimed for a time, and what came of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection

from apps.sms.callbacks import health
from apps.sms.callbacks.lanes import Due, Lane, Turn
from smsgateway import ids, json
from smsgateway.postgres.batch_delete import rows_delete

# Steps from lane to lane along the index of pending rows, from where the round before ended. A lane whose first row is
# not due is seen and left.
_LANES: Final = """
WITH RECURSIVE lane AS (
    (SELECT customer_id, host, next_at, 1 AS number FROM sms_callback
      WHERE status = 'pending' AND (customer_id, host) > (%(customer_id)s::uuid, %(host)s::text)
      ORDER BY customer_id, host, next_at LIMIT 1)
    UNION ALL
    SELECT next.customer_id, next.host, next.next_at, lane.number + 1
      FROM lane
     CROSS JOIN LATERAL (
        SELECT customer_id, host, next_at FROM sms_callback
         WHERE status = 'pending' AND (customer_id, host) > (lane.customer_id, lane.host)
         ORDER BY customer_id, host, next_at LIMIT 1) AS next
     WHERE lane.number < %(most)s
)
SELECT lane.customer_id, lane.host,
       lane.next_at <= statement_timestamp()
           AND (health.paused_until IS NULL OR health.paused_until <= statement_timestamp()),
       health.paused_until IS NOT NULL
  FROM lane
  LEFT JOIN customers_callbackhealth AS health ON health.customer_id = lane.customer_id AND health.host = lane.host
 ORDER BY lane.number
"""
_CLAIM: Final = """
WITH turn AS MATERIALIZED (
    SELECT customer_id, host, places
      FROM json_to_recordset(%(turns)s::json) AS turn (customer_id uuid, host text, places int)
),
due AS MATERIALIZED (
    SELECT picked.id
      FROM turn
     CROSS JOIN LATERAL (
        SELECT id FROM sms_callback
         WHERE status = 'pending' AND customer_id = turn.customer_id AND host = turn.host
           AND next_at <= statement_timestamp()
         ORDER BY next_at
         LIMIT turn.places
           FOR UPDATE SKIP LOCKED) AS picked
),
claimed AS (
    -- By an array: a join would be planned by a guess at how many rows are due, and might read the whole table.
    UPDATE sms_callback
       SET next_at = statement_timestamp() + make_interval(secs => %(lease)s)
     WHERE id = ANY (ARRAY(SELECT id FROM due))
    RETURNING *
)
SELECT claimed.id, claimed.customer_id, claimed.message_id, claimed.event, claimed.at, claimed.url, claimed.attempts,
       claimed.next_at, CASE WHEN endpoint.disabled_at IS NULL THEN endpoint.url END, claimed.data::text, claimed.host
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
SELECT count(*),
       coalesce(extract(epoch FROM statement_timestamp()
                                   - min(callback.next_at) FILTER (WHERE health.paused_until IS NULL)), 0)
  FROM sms_callback AS callback
  LEFT JOIN customers_callbackhealth AS health
    ON health.customer_id = callback.customer_id AND health.host = callback.host
 WHERE callback.status = 'pending'
"""
# In batches: each statement ends soon and holds few rows. An id begins with its time, so old rows are first by id.
_PURGE: Final = """
DELETE FROM sms_callback
 WHERE id = ANY (ARRAY(
    SELECT id FROM sms_callback WHERE id < %(before)s AND status <> 'pending' ORDER BY id LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
"""
START: Final = Lane(UUID(int=0), "")


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
    host: str = ""

    @property
    def lane(self) -> Lane:
        return Lane(self.customer_id, self.host)

    @property
    def is_lanes_own(self) -> bool:
        """Whether what comes of it says something about its lane. A row that an older version wrote has no host."""
        return bool(self.url) == bool(self.host)

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


class Lanes(NamedTuple):
    """A look at lanes: those with rows that are due, and where the next look begins."""

    due: list[Due]
    next_start: Lane


def lanes(*, after: Lane, most: int) -> Lanes:
    """The lanes after this one, up to so many; paused ones only if a probe is due. Begins again behind the last one."""
    with connection.cursor() as cursor:
        cursor.execute(_LANES, {"customer_id": after.customer_id, "host": after.host, "most": most})
        found = [(Lane(customer_id, host), *rest) for customer_id, host, *rest in cursor.fetchall()]
    due = [Due(lane, is_probe) for lane, is_due, is_probe in found if is_due]
    return Lanes(due, found[-1][0] if len(found) == most else START)


def claim(*, turns: Sequence[Turn], lease_seconds: float) -> list[Claimed]:
    """The rows of these lanes that are longest due, ours for `lease_seconds`."""
    wanted = [{"customer_id": turn.lane.customer_id, "host": turn.lane.host, "places": turn.places} for turn in turns]
    if not wanted:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"turns": json.encode(wanted).decode(), "lease": lease_seconds})
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
    """How many rows are pending; for how many seconds the oldest one of no paused lane is due, below 0 if none is."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        count, age = cursor.fetchone()
        return count, float(age)


def purge(*, before: dt.datetime) -> int:
    """Delete what was noted before and is not pending, in batches, and hosts that are called no more; how many
    callbacks."""
    deleted = rows_delete(_PURGE, {"before": ids.lowest_id(before)})
    health.purge(before=before)
    return deleted
