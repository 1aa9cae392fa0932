"""An old day with messages, charges and statuses in it, and `manage.py partitions`."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.db import connection

from smsgateway import ids, partitions
from smsgateway.partitions.spans import midnight

OLD_DAY = dt.datetime.now(tz=dt.UTC).date() - dt.timedelta(days=100)
OLD = midnight(OLD_DAY)

# As `messages_accept` and settlement leave them, a hundred days ago. Text of all kinds: quotes, newlines, nothing.
_MESSAGES = """
INSERT INTO sms_message
       (id, customer_id, recipient, sender, text, encoding, segments, cost, operator, reference, expires_at, send_at,
        priority, callback_url, metadata)
SELECT (%(prefix)s || lpad(to_hex(number), 20, '0'))::uuid, %(customer_id)s, '+98912' || lpad(number::text, 7, '0'), '',
       CASE number %% 4 WHEN 0 THEN '' WHEN 1 THEN E'a "quoted", \\n text\\\\' WHEN 2 THEN 'سلام 😀' ELSE 'NULL' END,
       'gsm7', 1, 100, 'mci', 'order ' || number, now() - interval '98 days' + number * interval '1 microsecond',
       CASE number %% 2 WHEN 0 THEN now() - interval '99 days' END, 'normal', '',
       CASE number %% 3 WHEN 0 THEN '{"a": "\\"b\\""}'::jsonb WHEN 1 THEN 'null'::jsonb END
  FROM generate_series(1, %(count)s) AS number
"""
_CHARGES = """
INSERT INTO balance_ledgerentry (id, customer_id, entry, kind, amount, balance_after, message_id)
SELECT id, customer_id, entries + number, 'charge', -100, balance - 100 * number, id
  FROM (SELECT *, row_number() OVER (ORDER BY id) AS number FROM sms_message WHERE id < %(before)s) AS message
  JOIN balance_account USING (customer_id)
"""
_CARRY_ON = """
UPDATE balance_account SET balance = balance - 100 * %(count)s, entries = entries + %(count)s
 WHERE customer_id = %(customer_id)s
"""
_STATUSES = """
INSERT INTO sms_statusentry (message_id, status, at, operator, operator_message_id, error, attempt)
SELECT id, status, now() - interval '100 days', 'mci', '', '', 1
  FROM sms_message CROSS JOIN (VALUES ('submitted'), ('delivered')) AS log (status) WHERE id < %(before)s
"""
BEFORE = ids.lowest_id(OLD + dt.timedelta(days=1))


def configure(settings: Any, **values: Any) -> None:
    """Change settings of the partitions."""
    changed = dataclasses.replace(settings.CONFIG.partitions, **values)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, partitions=changed)


def clear() -> None:
    """Take away partitions of that day, attached or not, and all records of the archive."""
    with connection.cursor() as cursor:
        for partition in partitions.catalog.attached(*partitions.TABLES):
            if partition.is_leaving:
                cursor.execute(f"ALTER TABLE {partition.table} DETACH PARTITION {partition.name} FINALIZE")
        for table in partitions.TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {partitions.name_of(table, OLD_DAY)}")
        cursor.execute("DELETE FROM partition_archive")


Fill = Callable[..., UUID]


def fill(customer_id: UUID, count: int) -> UUID:
    """So many messages of the old day, charged and delivered; the first one's id."""
    parameters: dict[str, Any] = {
        "prefix": f"{int(OLD.timestamp() * 1000) + 3_600_000:012x}",
        "customer_id": customer_id,
        "count": count,
        "before": BEFORE,
    }
    with connection.cursor() as cursor:
        for statement in (_MESSAGES, _CHARGES, _CARRY_ON, _STATUSES):
            cursor.execute(statement, parameters)
    return UUID(parameters["prefix"] + f"{1:020x}")


def run(*arguments: str) -> str:
    """`manage.py partitions …`; what it prints."""
    out = StringIO()
    call_command("partitions", *arguments, stdout=out)
    return out.getvalue()


def rows_of(table: str) -> list[Any]:
    """The old day's rows, each whole, in order."""
    key = {"sms_statusentry": "message_id, status", "sms_submittedpart": "submission_id, part"}.get(table, "id")
    column = key.partition(",")[0]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT t::text FROM {table} AS t WHERE {column} < %s ORDER BY {key}", [BEFORE])
        return [row[0] for row in cursor.fetchall()]


NAMES = {table: partitions.name_of(table, OLD_DAY) for table in partitions.TABLES}
MESSAGES, STATUSES, LEDGER = (NAMES[table] for table in partitions.TABLES[:3])
