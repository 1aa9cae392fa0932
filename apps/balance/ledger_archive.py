"""The ledger's part in archiving: a closing row per account stands for the entries of an archived partition.

It is written in the transaction that seals the partition, when no entry can come any more, and counts as soon as the
partition is not attached: see the view `balance_opening`.
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
    """Write the closing rows of a partition that takes no more entries."""
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE.format(name=sql.Literal(partition), partition=sql.Identifier(partition)))


def ledger_reopen(partition: str) -> None:
    """Delete them: the entries speak for themselves again."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM balance_closing WHERE partition = %s", [partition])
