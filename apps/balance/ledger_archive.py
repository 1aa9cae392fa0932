"""The ledger's part in archiving: one closing row for each account replaces the entries of an archived partition.

It is written in the transaction that seals the partition, after which no entry can come. It counts from the moment that
the partition is detached: see the view `balance_opening`.
"""

from __future__ import annotations

from django.db import connection
from psycopg import sql

_CLOSE = sql.SQL("""
INSERT INTO balance_closing (customer_id, partition, amount, entries, first_entry, last_entry, balance_after)
SELECT DISTINCT ON (customer_id)
       customer_id, {name}, sum(amount) OVER account, count(*) OVER account, min(entry) OVER account, entry,
       balance_after
  FROM {partition}
WINDOW account AS (PARTITION BY customer_id)
 ORDER BY customer_id, entry DESC
""")


def ledger_close(partition: str) -> None:
    """Write the closing rows of a sealed partition."""
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE.format(name=sql.Literal(partition), partition=sql.Identifier(partition)))


def ledger_reopen(partition: str) -> None:
    """Delete the closing rows of a partition whose entries count again."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM balance_closing WHERE partition = %s", [partition])
