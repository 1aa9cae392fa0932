"""What never came: messages without a receipt become `unknown`, receipts without a submit are dropped.

A pass looks at so many rows at most, and several processes may make passes at once: of those only one goes on.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from typing import Final

import structlog
from django.db import connection, transaction

from apps.sms import events, statuses
from apps.sms.models import OutboxEntry
from apps.sms.receipts.handovers import reference_key
from apps.sms.receipts.matching import receipts_match_handed_over
from smsgateway import ids
from smsgateway.metrics import RECEIPTS_DROPPED, RECEIPTS_MISSING
from smsgateway.postgres.copy import copy_rows

log = structlog.get_logger(__name__)

LIMIT: Final = 2000

_TAKE_POSITION: Final = "SELECT position FROM sms_receiptsweep WHERE id = 1 FOR UPDATE SKIP LOCKED"
_MOVE_POSITION: Final = "UPDATE sms_receiptsweep SET position = %s WHERE id = 1"
# Submissions in the order of their ids, so that each is looked at once; the primary key gives them from there on.
NEXT: Final = """
SELECT submission_id, message_id, operator, operator_message_id
  FROM sms_submittedpart
 WHERE submission_id > %(after)s AND submission_id < %(before)s AND part = 1
 ORDER BY submission_id
 LIMIT %(limit)s
"""
_SILENT: Final = """
SELECT message.id, message.customer_id, message.segments, message.cost
  FROM sms_message AS message
 WHERE message.id = ANY(%(ids)s) AND message.id >= %(lowest)s AND message.id <= %(highest)s
   AND NOT EXISTS (
      SELECT FROM sms_statusentry AS log
       WHERE log.message_id = message.id AND log.message_id >= %(lowest)s AND log.message_id <= %(highest)s
         AND log.status = ANY(%(told)s))
"""
_TOLD: Final = [*sorted(statuses.FINAL), statuses.UNKNOWN]
_DROP: Final = """
DELETE FROM sms_waitingreceipt
 WHERE id IN (
    SELECT id FROM sms_waitingreceipt WHERE id < %(before)s ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING operator
"""
_OUTBOX_COLUMNS: Final = ("customer_id", "message_id", "payload")


def messages_give_up(*, wait: dt.timedelta, limit: int = LIMIT) -> int:
    """Put `unknown` into the outbox for messages submitted longer than `wait` ago that have no final status.

    Returns how many submissions were looked at: `limit` if there may be more.
    """
    before = ids.lowest_id(dt.datetime.now(tz=dt.UTC) - wait)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TAKE_POSITION)
        position = cursor.fetchone()
        if position is None:  # another process is at it
            return 0
        cursor.execute(NEXT, {"after": position[0], "before": before, "limit": limit})
        submissions = cursor.fetchall()
        if not submissions:
            return 0
        submitted = {message_id: operator for _, message_id, *operator in submissions}
        bounds = {"lowest": min(submitted), "highest": max(submitted)}
        cursor.execute(_SILENT, {"ids": list(submitted), "told": _TOLD} | bounds)
        silent = cursor.fetchall()
        now = time.time_ns() // 1_000_000
        told = []
        for message_id, customer_id, segments, cost in silent:
            operator, operator_message_id = submitted[message_id]
            event = events.StatusChanged(
                message_id=ids.to_text(message_id),
                customer_id=ids.to_text(customer_id),
                status=statuses.UNKNOWN,
                at=now,
                operator=operator,
                operator_message_id="" if operator_message_id == reference_key(message_id) else operator_message_id,
                segments=segments,
                cost=cost,
            )
            told.append((customer_id, message_id, events.encode(event)))
        copy_rows(cursor, OutboxEntry._meta.db_table, _OUTBOX_COLUMNS, told)
        cursor.execute(_MOVE_POSITION, [submissions[-1][0]])
    for operator, count in Counter(submitted[message_id][0] for message_id, *_ in silent).items():
        RECEIPTS_MISSING.labels(operator).inc(count)
        log.warning("receipts_missing", operator=operator, messages=count)
    return len(submissions)


def receipts_drop(*, wait: dt.timedelta, limit: int = LIMIT) -> int:
    """Drop receipts that came longer than `wait` ago and whose submit was never recorded; return how many."""
    before = ids.lowest_id(dt.datetime.now(tz=dt.UTC) - wait)
    # A submit that a process of an earlier version recorded was not looked up by our reference.
    receipts_match_handed_over(before=before, limit=limit)
    with connection.cursor() as cursor:
        cursor.execute(_DROP, {"before": before, "limit": limit})
        dropped = Counter(operator for (operator,) in cursor.fetchall())
    for operator, count in dropped.items():
        RECEIPTS_DROPPED.labels(operator).inc(count)
        log.warning("receipts_dropped", operator=operator, receipts=count)
    return dropped.total()
