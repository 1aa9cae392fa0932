"""Finds accepted messages that have reached no status, and puts them back into the outbox.

Such a message either waits (in the outbox, in the schedule, on Kafka, in a worker) or is lost, with a Kafka topic or
because somebody edited the database. If it were put back while it waits, it would be submitted twice. So:

- a message in the outbox or the schedule, or held for its customer, is not stuck;
- an expired message (`expires_at`) can be put back at any time: no worker submits any copy of it, so it expires and is
  refunded once;
- a message that has not expired is put back only while nothing waits on Kafka: delivery workers and settlement have
  read everything, so it is not on its way (`apps.reconciliation.kafka_backlog` checks twice, since a message may move
  between two looks).

One case remains, as everywhere with "at least once": a message whose status event was lost after its submit (with its
topic, for example) is sent again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from smsgateway import ids
from smsgateway.config.partitioning import SEND_AHEAD_DAYS

LIMIT: Final = 10_000
# A worker's clock may be behind ours.
EXPIRY_MARGIN: Final = dt.timedelta(minutes=5)

_NEITHER_WAITS_NOR_MOVED: Final = """
   AND NOT EXISTS (SELECT FROM sms_outboxentry AS waiting WHERE waiting.message_id = message.id)
   AND NOT EXISTS (SELECT FROM sms_scheduledentry AS waiting WHERE waiting.message_id = message.id)
   AND NOT EXISTS (SELECT FROM sms_heldmessage AS waiting WHERE waiting.message_id = message.id AND waiting.is_held)
"""
_UNSCHEDULED: Final = f"""
  FROM sms_message AS message
 WHERE message.id >= %(low)s AND message.id < %(high)s AND message.send_at IS NULL
   AND NOT EXISTS (
      SELECT FROM sms_statusentry AS log
       WHERE log.message_id = message.id AND log.message_id >= %(low)s AND log.message_id < %(high)s
         AND log.status <> 'queued')
   {_NEITHER_WAITS_NOR_MOVED}
"""
# A scheduled message may be due up to 30 days after the time of its id. So it is found by `send_at`, in a partial index
# of each partition. OFFSET 0 makes PostgreSQL look up each message in the log by its key, in that message's partition;
# otherwise it could plan a join with the whole log.
_SCHEDULED: Final = f"""
  FROM sms_message AS message
 WHERE message.send_at >= %(since)s AND message.send_at < %(before)s
   AND message.id >= %(earliest)s AND message.id < %(high)s
   AND NOT EXISTS (
      SELECT FROM sms_statusentry AS log WHERE log.message_id = message.id AND log.status <> 'queued' OFFSET 0)
   {_NEITHER_WAITS_NOR_MOVED}
"""
_FOUND: Final = "SELECT message.id, message.customer_id, message.expires_at < %(now)s"
FIND: Final = f"""
({_FOUND} {_UNSCHEDULED} ORDER BY message.id LIMIT %(limit)s)
UNION ALL
({_FOUND} {_SCHEDULED} ORDER BY message.id LIMIT %(limit)s)
ORDER BY 1 LIMIT %(limit)s
"""
# Checks the conditions again, since a status may have come meanwhile. `due` makes the relay deliver a scheduled message
# instead of only reporting that it was accepted.
_PUT_BACK: Final = f"""
INSERT INTO sms_outboxentry (customer_id, message_id, due)
SELECT message.customer_id, message.id, false {_UNSCHEDULED} AND message.id = ANY(%(ids)s)
UNION ALL
SELECT message.customer_id, message.id, true {_SCHEDULED} AND message.id = ANY(%(ids)s)
"""


class Stuck(NamedTuple):
    """A message without a status. `expired`: it must not be submitted any more."""

    message_id: UUID
    customer_id: UUID
    expired: bool


def messages_stuck(*, since: dt.datetime, after: dt.timedelta, limit: int = LIMIT) -> list[Stuck]:
    """Messages accepted (or due, if scheduled) between `since` and `after` ago that have no status, and are not in the
    outbox, in the schedule or held; the oldest first, at most `limit`."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, _bounds(since, after) | {"limit": limit})
        return [Stuck(*row) for row in cursor.fetchall()]


def messages_put_back(*, message_ids: Collection[UUID], since: dt.datetime, after: dt.timedelta) -> int:
    """Put those of the messages that are still stuck back into the outbox; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(_PUT_BACK, _bounds(since, after) | {"ids": list(message_ids)})
        return int(cursor.rowcount)


def _bounds(since: dt.datetime, after: dt.timedelta) -> dict[str, Any]:
    now = dt.datetime.now(tz=dt.UTC)
    return {
        "since": since,
        "earliest": ids.lowest_id(since - dt.timedelta(days=SEND_AHEAD_DAYS + 1)),
        "low": ids.lowest_id(since),
        "high": ids.lowest_id(now - after),
        "before": now - after,
        "now": now - EXPIRY_MARGIN,
    }
