"""Accepted messages that reached no status: found, and put back into the outbox.

Such a message either waits (in the outbox, in the schedule, on Kafka, with a worker) or is lost, with a Kafka topic or
by a hand. Put back while it waits, it would be submitted twice. So:

- one that stands in the outbox or the schedule is none of these;
- one whose time has passed (`expires_at`) can be put back at any time: whatever copy of it a worker comes to now is not
  submitted any more, it expires and is refunded, once;
- one that has time left is put back only while nothing waits on Kafka: no delivery worker and no settlement has
  anything left to read, so it is not on its way (`apps.reconciliation.waiting` looks twice: it may move meanwhile).

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

LIMIT: Final = 10_000
# A worker's clock may be behind ours.
EXPIRY_MARGIN: Final = dt.timedelta(minutes=5)

_STUCK: Final = """
  FROM sms_message AS message
 WHERE message.id >= %(low)s AND message.id < %(high)s
   AND (message.send_at IS NULL OR message.send_at < %(before)s)
   AND NOT EXISTS (
      SELECT FROM sms_statusentry AS log
       WHERE log.message_id = message.id AND log.message_id >= %(low)s AND log.message_id < %(high)s
         AND log.status <> 'queued')
   AND NOT EXISTS (SELECT FROM sms_outboxentry AS waiting WHERE waiting.message_id = message.id)
   AND NOT EXISTS (SELECT FROM sms_scheduledentry AS waiting WHERE waiting.message_id = message.id)
"""
FIND: Final = f"""
SELECT message.id, message.customer_id, message.expires_at < %(now)s {_STUCK} ORDER BY message.id LIMIT %(limit)s
"""
# Looked at once more by the statement that puts back: a status may have come meanwhile. Of one that had its hour, `due`
# makes the relay deliver it and not tell of its acceptance alone.
_PUT_BACK: Final = f"""
INSERT INTO sms_outboxentry (customer_id, message_id, due)
SELECT message.customer_id, message.id, message.send_at IS NOT NULL {_STUCK} AND message.id = ANY(%(ids)s)
"""


class Stuck(NamedTuple):
    """A message without a status. `expired`: it is not to be submitted any more."""

    message_id: UUID
    customer_id: UUID
    expired: bool


def messages_stuck(*, since: dt.datetime, after: dt.timedelta, limit: int = LIMIT) -> list[Stuck]:
    """Messages accepted since then, and accepted (or due) longer than `after` ago, that have no status and do not wait
    in the outbox or the schedule; the oldest first, `limit` at most."""
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
        "low": ids.lowest_id(since),
        "high": ids.lowest_id(now - after),
        "before": now - after,
        "now": now - EXPIRY_MARGIN,
    }
