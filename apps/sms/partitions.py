"""The partitioned tables, in the order in which their partitions are archived, and what prevents archiving one.

Messages are archived first. Settlement then sees at once that an event's message is archived. It must never find a
message whose status log is gone, since the log says whether the message was refunded.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connection
from psycopg import sql

from apps.balance.ledger_archive import ledger_close, ledger_reopen
from apps.sms import statuses
from smsgateway.config import Config
from smsgateway.partitions.catalog import Partition
from smsgateway.partitions.table import PartitionedTable

_ENDED: Final = [*sorted(statuses.FINAL), statuses.UNKNOWN]
_WAITING: Final = """
SELECT (SELECT count(*) FROM sms_scheduledentry WHERE message_id >= %(low)s AND message_id < %(high)s),
       (SELECT count(*) FROM sms_outboxentry WHERE message_id >= %(low)s AND message_id < %(high)s),
       (SELECT count(*) FROM sms_heldmessage WHERE is_held AND message_id >= %(low)s AND message_id < %(high)s)
"""
_OPEN: Final = sql.SQL("""
SELECT count(*)
  FROM {partition} AS message
 WHERE NOT EXISTS (
       SELECT FROM sms_statusentry AS log
        WHERE log.message_id = message.id AND log.message_id >= %(low)s AND log.message_id < %(high)s
          AND log.status = ANY(%(ended)s))
""")
_UNSWEPT: Final = sql.SQL("""
SELECT EXISTS (
       SELECT FROM {partition}
        WHERE submission_id > coalesce((SELECT position FROM sms_receiptsweep WHERE id = 1),
                                       '00000000-0000-0000-0000-000000000000'::uuid))
""")


def partitioned_tables(config: Config, *, open_too: bool = False) -> list[PartitionedTable]:
    """All partitioned tables. `open_too`: archive partitions with messages that have not ended, too."""
    settings = config.partitions
    return [
        PartitionedTable(
            "sms_message",
            "id",
            settings.messages_interval,  # type: ignore[arg-type]  # one of the choices
            settings.messages_keep_days,
            along=("sms_statusentry",),
            held=_messages_held_unless_waiting if open_too else _messages_held,
        ),
        PartitionedTable(
            "sms_statusentry",
            "message_id",
            settings.statuses_interval,  # type: ignore[arg-type]
            settings.statuses_keep_days,
            after=("sms_message",),
        ),
        PartitionedTable(
            "balance_ledgerentry",
            "id",
            settings.ledger_interval,  # type: ignore[arg-type]
            settings.ledger_keep_days,
            after=("sms_message",),
            close=ledger_close,
            reopen=ledger_reopen,
        ),
        PartitionedTable(
            "sms_submittedpart",
            "submission_id",
            settings.submits_interval,  # type: ignore[arg-type]
            settings.submits_keep_days,
            held=_submits_held,
        ),
    ]


def _messages_held(partition: Partition) -> str:
    if reason := _messages_held_unless_waiting(partition):
        return reason
    count = _query(_OPEN, partition, ended=_ENDED)
    return f"{count} of its messages have not ended (archive it with --open-too if they never will)." if count else ""


def _messages_held_unless_waiting(partition: Partition) -> str:
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"low": partition.span.low, "high": partition.span.high})
        scheduled, outbox, held = cursor.fetchone()
    if scheduled or outbox or held:
        return (
            f"{scheduled} of its messages are scheduled, {held} are held for a suspended customer, "
            f"{outbox} of their events are in the outbox."
        )
    return ""


def _submits_held(partition: Partition) -> str:
    if _query(_UNSWEPT, partition):
        return "its submits were not checked for missing receipts yet: is settlement running?"
    return ""


def _query(query: sql.SQL, partition: Partition, **parameters: Any) -> int:
    bounds = {"low": partition.span.low, "high": partition.span.high}
    with connection.cursor() as cursor:
        cursor.execute(query.format(partition=sql.Identifier(partition.name)), bounds | parameters)
        return int(cursor.fetchone()[0])
