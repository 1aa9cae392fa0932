"""Missing counterparts: messages without a receipt become `unknown`, receipts without a submit are dropped.

A call handles at most `limit` rows. Several processes may call at the same time: only one of them does the work.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from django.db import connection, transaction

from apps.sms import events, statuses
from apps.sms.outbox.writer import OutboxEvent, outbox_add
from apps.sms.receipts.matching import receipts_match_handed_over
from apps.sms.receipts.operator_handovers import reference_key
from smsgateway import ids
from smsgateway.metrics import RECEIPTS_DROPPED, RECEIPTS_MISSING
from smsgateway.partitions.bounds import id_bounds, within

log = structlog.get_logger(__name__)

LIMIT: Final = 2000

_TAKE_POSITION: Final = "SELECT position FROM sms_receiptsweep WHERE id = 1 FOR UPDATE SKIP LOCKED"
_MOVE_POSITION: Final = "UPDATE sms_receiptsweep SET position = %s WHERE id = 1"
# Submissions in the order of their ids, by the primary key, so that each is checked once.
NEXT: Final = """
SELECT submission_id, message_id, operator, operator_message_id
  FROM sms_submittedpart
 WHERE submission_id > %(after)s AND submission_id < %(before)s AND part = 1
 ORDER BY submission_id
 LIMIT %(limit)s
"""
_SILENT: Final = f"""
SELECT message.id, message.customer_id, message.segments, message.cost
  FROM sms_message AS message
 WHERE message.id = ANY(%(ids)s) AND {within("message.id")}
   AND NOT EXISTS (
      SELECT FROM sms_statusentry AS log
       WHERE log.message_id = message.id AND {within("log.message_id")}
         AND log.status = ANY(%(known)s))
"""
_FATE_KNOWN: Final = [*sorted(statuses.FINAL), statuses.UNKNOWN]
_DROP: Final = """
DELETE FROM sms_waitingreceipt
 WHERE id = ANY (ARRAY(
    SELECT id FROM sms_waitingreceipt WHERE id < %(before)s ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING operator
"""


class _Message(NamedTuple):
    id: UUID
    customer_id: UUID
    segments: int
    cost: int


def messages_mark_unknown(*, wait: dt.timedelta, limit: int = LIMIT) -> int:
    """Put the status `unknown` into the outbox for messages submitted longer than `wait` ago without a final status.

    Returns how many submissions were checked: `limit` if there may be more.
    """
    before = ids.lowest_id(dt.datetime.now(tz=dt.UTC) - wait)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TAKE_POSITION)
        position = cursor.fetchone()
        if position is None:  # another process does this now
            return 0
        cursor.execute(NEXT, {"after": position[0], "before": before, "limit": limit})
        submissions = cursor.fetchall()
        if not submissions:
            return 0
        submitted = {message_id: operator for _, message_id, *operator in submissions}
        cursor.execute(_SILENT, id_bounds(submitted) | {"known": _FATE_KNOWN})
        silent = [_Message(*row) for row in cursor.fetchall()]
        now = time.time_ns() // 1_000_000
        outbox_add(
            OutboxEvent(message.customer_id, message.id, _unknown(message, *submitted[message.id], at=now))
            for message in silent
        )
        cursor.execute(_MOVE_POSITION, [submissions[-1][0]])
    for operator, count in Counter(submitted[message.id][0] for message in silent).items():
        RECEIPTS_MISSING.labels(operator).inc(count)
        log.warning("receipts_missing", operator=operator, messages=count)
    return len(submissions)


def _unknown(message: _Message, operator: str, operator_message_id: str, *, at: int) -> events.StatusChanged:
    return events.status_changed(
        message,
        status=statuses.UNKNOWN,
        at=at,
        operator=operator,
        operator_message_id="" if operator_message_id == reference_key(message.id) else operator_message_id,
    )


def receipts_drop(*, wait: dt.timedelta, limit: int = LIMIT) -> int:
    """Delete receipts that arrived longer than `wait` ago and whose submit was never recorded; return how many."""
    before = ids.lowest_id(dt.datetime.now(tz=dt.UTC) - wait)
    # Earlier versions did not look for waiting receipts with our reference when they recorded a submit.
    receipts_match_handed_over(before=before, limit=limit)
    with connection.cursor() as cursor:
        cursor.execute(_DROP, {"before": before, "limit": limit})
        dropped = Counter(operator for (operator,) in cursor.fetchall())
    for operator, count in dropped.items():
        RECEIPTS_DROPPED.labels(operator).inc(count)
        log.warning("receipts_dropped", operator=operator, receipts=count)
    return dropped.total()
