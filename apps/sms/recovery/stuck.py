"""Accepted messages that reached no status: found, and put back into the outbox.

Such a message either waits (in the outbox, in the schedule, on Kafka, with a worker) or is lost, with a Kafka topic or
by a hand. Put back while it waits, it would be submitted twice. So:

- one that stands in the outbox or the schedule, or is held for its customer, is not among them;
- one whose time has passed (`expires_at`) can be put back at any time: whatever copy of it a worker comes to now is not
  submitted any more, it expires and is refunded, once;
- one that has time left is put back only while nothing waits on Kafka: no delivery worker and no settlement has
  anything left to read, so it is not on its way (`apps.reconciliation.kafka_backlog` looks twice: it may move
  meanwhile).

What remains is what "at least once" means everywhere here: a message whose status event was lost after its submit (with
its topic, say) comes again.
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
# A scheduled message is as old as its id, and due up to 30 days later: it is found by its hour, in an index of each
# partition that has those alone. OFFSET 0: the log is asked for each by its key, in the one partition of that message.
# A join could be planned as one with all of the log.
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
# Looked at once more by the statement that puts back: a status may have come meanwhile. Of one that had its hour, `due`
# makes the relay deliver it and not report its acceptance alone.
_PUT_BACK: Final = f"""
INSERT INTO sms_outboxentry (customer_id, message_id, due)
SELECT message.customer_id, message.id, false {_UNSCHEDULED} AND message.id = ANY(%(ids)s)
UNION ALL
SELECT message.customer_id, message.id, true {_SCHEDULED} AND message.id = ANY(%(ids)s)
"""


class Stuck(NamedTuple):
    """A message without a status. `expired`: it is not to be submitted any more."""

    message_id: UUID
    customer_id: UUID
    expired: bool


def messages_stuck(*, since: dt.datetime, after: dt.timedelta, limit: int = LIMIT) -> list[Stuck]:
    """Messages accepted, or if they were scheduled due, between `since` and `after` ago, that have no status and wait
    neither in the outbox nor in the schedule nor for their suspended customer; the oldest first, `limit` at most."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, _bounds(since, after) | {"limit": limit})
        return [Stuck(*row) for row in cursor.fetchall()]


def messages_put_back(*, message_ids: Collection[UUID], since: dt.datetime, after: dt.timedelta) -> int:
    """Put those of them that are still stuck back into the outbox; return how many."""
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
