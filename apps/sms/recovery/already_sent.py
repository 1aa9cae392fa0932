"""Takes messages out of the outbox, the schedule and the held ones of a restored database that had gone on before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import connection, transaction

from apps.sms import events
from smsgateway import ids

# A work order on Kafka is all that an outbox row without an event is for.
_OUTBOX: Final = "DELETE FROM sms_outboxentry WHERE payload IS NULL AND message_id = ANY(%(ids)s)"
_SCHEDULE: Final = "DELETE FROM sms_scheduledentry WHERE message_id = ANY(%(ids)s)"
# A later copy than the one that was held: it went on.
_HELD: Final = """
UPDATE sms_heldmessage AS held
   SET is_held = false, is_going = false, copy = gone.copy
  FROM unnest(%(ids)s::uuid[], %(copies)s::bigint[]) AS gone (message_id, copy)
 WHERE held.message_id = gone.message_id AND held.is_held AND held.copy < gone.copy
"""
_WITH_A_STATUS: Final = "EXISTS (SELECT FROM sms_statusentry AS log WHERE log.message_id = waiting.message_id AND log.status <> 'queued' OFFSET 0)"  # noqa: E501  # one condition
_ENDED: Final = (
    f"DELETE FROM sms_outboxentry AS waiting WHERE payload IS NULL AND {_WITH_A_STATUS}",
    f"DELETE FROM sms_scheduledentry AS waiting WHERE {_WITH_A_STATUS}",
    f"UPDATE sms_heldmessage AS waiting SET is_held = false, is_going = false WHERE is_held AND {_WITH_A_STATUS}",
)


@transaction.atomic
def sent_take_out(*, orders: Sequence[events.DeliveryRequested]) -> int:
    """Take out the messages of these work orders, which are on Kafka; return how many rows."""
    copies = {ids.from_text(order.message_id): order.copy for order in orders}
    if not copies:
        return 0
    parameters: dict[str, Any] = {"ids": list(copies), "copies": list(copies.values())}
    count = 0
    with connection.cursor() as cursor:
        for statement in (_OUTBOX, _SCHEDULE, _HELD):
            cursor.execute(statement, parameters)
            count += cursor.rowcount
    return count


@transaction.atomic
def ended_take_out() -> int:
    """Take out the messages that have a status: they were submitted, canceled or have ended; return how many rows."""
    count = 0
    with connection.cursor() as cursor:
        for statement in _ENDED:
            cursor.execute(statement)
            count += cursor.rowcount
    return count
