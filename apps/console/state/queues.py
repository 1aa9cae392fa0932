"""What waits in PostgreSQL: outbox, schedule, held messages, callbacks, low balances. Every count has a bound."""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Case, Value, When

from apps.sms.callbacks import rows
from apps.sms.models import OutboxEntry, ScheduledEntry
from smsgateway import ids

_MAX_COUNTED: Final = 10_000
_LISTED: Final = 50
_OVERDUE: Final = dt.timedelta(minutes=1)

_OUTBOX: Final = "SELECT count(*) FROM (SELECT FROM sms_outboxentry LIMIT %s) AS first"
_LOW: Final = """
SELECT count(*)
  FROM balance_lowbalance AS alert
  JOIN balance_account AS account ON account.customer_id = alert.customer_id
 WHERE account.balance < alert.threshold
"""


# Goes from customer to customer along the index of held messages, and counts up to a bound for each.
_HELD: Final = """
WITH RECURSIVE waiting AS (
    (SELECT customer_id FROM sms_heldmessage WHERE is_held ORDER BY customer_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.customer_id FROM sms_heldmessage AS next
             WHERE next.is_held AND next.customer_id > waiting.customer_id
             ORDER BY next.customer_id LIMIT 1)
      FROM waiting WHERE waiting.customer_id IS NOT NULL
)
SELECT waiting.customer_id, found.count, found.count >= %(most)s, found.oldest, found.expires
  FROM waiting
 CROSS JOIN LATERAL (
    SELECT count(*), min(held_at), min(expires_at)
      FROM (SELECT held_at, expires_at FROM sms_heldmessage
             WHERE is_held AND customer_id = waiting.customer_id LIMIT %(most)s) AS first
 ) AS found (count, oldest, expires)
 WHERE waiting.customer_id IS NOT NULL
 LIMIT %(listed)s
"""


class Held(NamedTuple):
    """Held messages of a suspended customer; the count and the times cover the first `_MAX_COUNTED` messages."""

    customer_id: UUID
    messages: int
    is_more: bool
    oldest: dt.datetime
    next_expires: dt.datetime


class Waiting(NamedTuple):
    """A row that waits. `since`: when it was due, or the time in its message's id; `what`: the kind of row."""

    message_id: UUID
    customer_id: UUID
    since: dt.datetime
    what: str


class Outbox(NamedTuple):
    """How many rows wait for Kafka (counted up to a bound), and for how many seconds the oldest message waits."""

    rows: int
    is_more: bool
    oldest_seconds: float


def outbox() -> Outbox:
    """The relay's backlog."""
    with connection.cursor() as cursor:
        cursor.execute(_OUTBOX, [_MAX_COUNTED])
        count = cursor.fetchone()[0]
    oldest = next((row.since for row in outbox_oldest() if row.what == "accepted"), None)
    age = (dt.datetime.now(tz=dt.UTC) - oldest).total_seconds() if oldest else 0.0
    return Outbox(count, count >= _MAX_COUNTED, max(0.0, age))


def outbox_oldest() -> list[Waiting]:
    """The rows of the outbox that have waited longest."""
    kinds = Case(
        When(payload__isnull=False, then=Value("status")), When(due=True, then=Value("due")), default=Value("accepted")
    )
    oldest = OutboxEntry.objects.order_by("id").values_list("message_id", "customer_id", kinds)[:_LISTED]
    return [Waiting(message_id, customer_id, ids.moment(message_id), what) for message_id, customer_id, what in oldest]


def overdue() -> list[Waiting]:
    """Scheduled messages that are due but have not been released."""
    late = ScheduledEntry.objects.filter(send_at__lt=dt.datetime.now(tz=dt.UTC) - _OVERDUE).order_by("send_at")
    return [Waiting(row.message_id, row.customer_id, row.send_at, "scheduled") for row in late[:_LISTED]]


def held() -> list[Held]:
    """Customers with held messages, up to `_LISTED` of them."""
    with connection.cursor() as cursor:
        cursor.execute(_HELD, {"most": _MAX_COUNTED, "listed": _LISTED})
        return [Held(*row) for row in cursor.fetchall()]


def callbacks() -> tuple[int, float]:
    """How many callbacks wait, retries included, and for how many seconds the oldest has been due."""
    count, age = rows.waiting()
    return count, max(0.0, age)


def low_balances() -> int:
    """How many customers with a threshold are below it."""
    with connection.cursor() as cursor:
        cursor.execute(_LOW)
        count: int = cursor.fetchone()[0]
    return count
