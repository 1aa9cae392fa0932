"""Which operators got a message: only their receipts count if they name it by our reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection

from apps.sms import statuses
from apps.sms.receipts.parts import parts_find
from smsgateway import ids
from smsgateway.partitions.bounds import id_bounds, within

# The entries of workers that had submitted a message at least once and were not refused. Not `queued`: that message is
# tried again, and a refund meanwhile would be of a message that is still sent.
_HANDED_OVER: Final = f"""
SELECT message_id, status, operator, (extract(epoch FROM at) * 1000)::bigint
  FROM sms_statusentry
 WHERE message_id = ANY(%(ids)s) AND {within("message_id")}
   AND (status = %(submitted)s OR (attempt > 0 AND status <> ALL(%(others)s)))
"""


class Handovers(NamedTuple):
    """By message: the operators that got it, and when its submit was recorded, in milliseconds since 1970."""

    operators: dict[UUID, set[str]]
    submitted_at: dict[UUID, int]


class ReferencedReceipt(NamedTuple):
    """A receipt with our reference. `operator_message_id` may be empty."""

    operator: str
    message_id: UUID
    operator_message_id: str


def handovers_read(message_ids: Collection[UUID]) -> Handovers:
    """Read the handovers of these messages from the status log."""
    operators: defaultdict[UUID, set[str]] = defaultdict(set)
    submitted_at: dict[UUID, int] = {}
    if message_ids:
        values = {"submitted": statuses.SUBMITTED, "others": [statuses.QUEUED, statuses.REJECTED]}
        with connection.cursor() as cursor:
            cursor.execute(_HANDED_OVER, id_bounds(message_ids) | values)
            for message_id, status, operator, at in cursor.fetchall():
                operators[message_id].add(operator)
                if status == statuses.SUBMITTED:
                    submitted_at[message_id] = at
    return Handovers(dict(operators), submitted_at)


def handed_over_find(receipts: Sequence[ReferencedReceipt], handovers: Handovers, *, days: int) -> set[int]:
    """The positions of those receipts whose operator got the message.

    The status log has only a message's first submit. A message that was submitted again, to another operator, after a
    worker was killed is found by its parts of the last `days`: by the receipt's id, or by `reference_key`.
    """
    found: set[int] = set()
    keys: list[tuple[str, str]] = []
    positions: list[int] = []
    for position, (operator, message_id, operator_message_id) in enumerate(receipts):
        if operator in handovers.operators.get(message_id, ()):
            found.add(position)
            continue
        for key in {operator_message_id, reference_key(message_id)} - {""}:
            keys.append((operator, key))
            positions.append(position)
    for index, part in parts_find(keys, days=days).items():
        if part.message_id == receipts[positions[index]].message_id:
            found.add(positions[index])
    return found


def reference_key(message_id: UUID) -> str:
    """Stands for the operator's id of a submit whose id is unknown, and of each submit after the first: receipts with
    our reference find these submits by it."""
    return ids.to_text(message_id)
