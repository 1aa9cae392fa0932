"""The one writer of events to the outbox.

Rows without an event, which stand for an accepted message, are written where their message is: by the statement that
charges it (`apps.sms.accept.charge_statement`), by the relay when a scheduled message is due, and by
`apps.sms.recovery.stuck`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection

from apps.sms import events
from apps.sms.models import OutboxEntry
from smsgateway.postgres.copy import copy_rows

_COLUMNS: Final = ("customer_id", "message_id", "payload", "request_id")


NOBODY: Final = UUID(int=0)


class OutboxEvent(NamedTuple):
    """An event to publish, with the ids of its customer and message (NOBODY if it has none), and of the request that
    caused it, if any."""

    customer_id: UUID
    message_id: UUID
    event: events.StatusTopicEvent | events.MessageAccepted | events.ReceiptUnread
    request_id: str = ""


def outbox_add(entries: Iterable[OutboxEvent]) -> int:
    """Put events into the outbox, in their order, and return how many. They commit with the caller's transaction."""
    rows = [
        (customer_id, message_id, events.encode(event), request_id)
        for customer_id, message_id, event, request_id in entries
    ]
    if rows:
        with connection.cursor() as cursor:
            copy_rows(cursor, OutboxEntry._meta.db_table, _COLUMNS, rows)
    return len(rows)
