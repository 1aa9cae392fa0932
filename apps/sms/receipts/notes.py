"""What operators report of a message beside its final status: a state on its way, and parameters that are kept.

One row for each message, with the newest report. It shows why a message takes long; nothing depends on it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection

from apps.sms.operators.base import Receipt
from smsgateway import ids
from smsgateway.postgres.batch_delete import rows_delete

KEPT_DAYS: Final = 30

# Two processes lock the same rows in the same order.
_WRITE: Final = """
INSERT INTO sms_receiptnote (message_id, operator, operator_message_id, state, error, at, tlvs)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::jsonb[])
           AS note (message_id)
 ORDER BY message_id
    ON CONFLICT (message_id) DO UPDATE
   SET operator = excluded.operator, operator_message_id = excluded.operator_message_id, state = excluded.state,
       error = excluded.error, at = excluded.at, tlvs = sms_receiptnote.tlvs || excluded.tlvs
 WHERE excluded.at >= sms_receiptnote.at
"""
_PURGE: Final = """
DELETE FROM sms_receiptnote
 WHERE message_id = ANY (ARRAY(
    SELECT message_id FROM sms_receiptnote WHERE message_id < %(before)s ORDER BY message_id
     LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
"""


class Note(NamedTuple):
    """A receipt of a message. `at`: in milliseconds since 1970, not before the submit."""

    message_id: UUID
    operator: str
    receipt: Receipt
    at: int


def notes_write(notes: Sequence[Note]) -> None:
    """Keep the newest note of each message."""
    newest: dict[UUID, Note] = {}
    for note in notes:
        if note.message_id not in newest or newest[note.message_id].at <= note.at:
            newest[note.message_id] = note
    if not newest:
        return
    rows = [
        (
            note.message_id,
            note.operator,
            note.receipt.operator_message_id,
            note.receipt.state or note.receipt.status,
            note.receipt.error,
            note.at,
            msgspec.json.encode(note.receipt.tlvs).decode(),
        )
        for note in newest.values()
    ]
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, [list(column) for column in zip(*rows, strict=True)])


def notes_purge(*, before: dt.datetime) -> int:
    """Delete the notes of messages accepted before this time; return how many."""
    return rows_delete(_PURGE, {"before": ids.lowest_id(before)})
