"""The queue of callbacks in PostgreSQL: the worker claims rows for a time (a lease) and records their outcomes."""

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

# Steps from lane to lane along the index of pending rows, starting where the previous round ended. It reads only the
# first row of a lane.
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
    -- An array, because PostgreSQL plans a join by a guess of how many rows are due, and could read the whole table.
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
# The end of the lease identifies its holder. An outcome changes nothing if the lease has ended, or if the callback was
# replayed meanwhile.
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
# In batches, so that each statement is short and locks few rows. Ids start with their time, so the oldest come first.
_PURGE: Final = """
DELETE FROM sms_callback
 WHERE id = ANY (ARRAY(
    SELECT id FROM sms_callback WHERE id < %(before)s AND status <> 'pending' ORDER BY id LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
"""
START: Final = Lane(UUID(int=0), "")


class Claimed(NamedTuple):
    """A row that this process may send until `lease`.

    `url`: the message's own callback URL. `endpoint_url`: the customer's endpoint, if it is enabled. `data`: the JSON
    of an event that is not about a message.
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
    def counts_for_lane(self) -> bool:
        """True if its outcome counts for its lane's health. A row of an older version has a URL and no host."""
        return bool(self.url) == bool(self.host)

    @property
    def target(self) -> str | None:
        """The URL to call; None if the customer has no endpoint, or a disabled one."""
        return self.url or self.endpoint_url


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a try. `delay`: seconds until the next one, if the status is `pending`."""

    id: UUID
    lease: dt.datetime
    status: str
    at: dt.datetime
    url: str
    error: str
    http_status: int | None = None
    delay: float | None = None


class Lanes(NamedTuple):
    """The lanes of one round that have due rows, and the lane after which the next round starts."""

    due: list[Due]
    next_start: Lane


def lanes(*, after: Lane, most: int) -> Lanes:
    """Up to `most` lanes after this one; paused lanes only if a probe is due. Starts again after the last lane."""
    with connection.cursor() as cursor:
        cursor.execute(_LANES, {"customer_id": after.customer_id, "host": after.host, "most": most})
        found = [(Lane(customer_id, host), *rest) for customer_id, host, *rest in cursor.fetchall()]
    due = [Due(lane, is_probe) for lane, is_due, is_probe in found if is_due]
    return Lanes(due, found[-1][0] if len(found) == most else START)


def claim(*, turns: Sequence[Turn], lease_seconds: float) -> list[Claimed]:
    """Claim the rows of these lanes that have been due longest, for `lease_seconds`."""
    wanted = [{"customer_id": turn.lane.customer_id, "host": turn.lane.host, "places": turn.places} for turn in turns]
    if not wanted:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"turns": json.encode(wanted).decode(), "lease": lease_seconds})
        return [Claimed(*row) for row in cursor.fetchall()]


def finish(outcomes: Sequence[Outcome]) -> None:
    """Record the outcomes of claimed rows."""
    with connection.cursor() as cursor:
        cursor.execute(_FINISH, [json.encode(outcomes).decode()])


def release(claimed: Sequence[Claimed]) -> None:
    """Give back rows that were not sent. They are due at once."""
    leases = [{"id": row.id, "lease": row.lease} for row in claimed]
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, [json.encode(leases).decode()])


def waiting() -> tuple[int, float]:
    """The number of pending rows, and for how many seconds the oldest one has been due, paused lanes left out.

    The seconds are below 0 if no row is due.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        count, age = cursor.fetchone()
        return count, float(age)


def purge(*, before: dt.datetime) -> int:
    """Delete old callbacks that are not pending, in batches, and the failures of hosts that are no longer called.

    Returns how many callbacks.
    """
    deleted = rows_delete(_PURGE, {"before": ids.lowest_id(before)})
    health.purge(before=before)
    return deleted
