"""An account's statement: what was on it, what came and went, and what is on it, by the ledger, to the unit.

An entry belongs to the moment of its id. Ids are made just before their account is locked, so two entries may stand in
the ledger the other way round than their ids; near a bound (WINDOW) they are looked at one by one, and everything else
follows from `entry` and `balance_after` alone. So entries before the statement need not be there any more.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection

from apps.balance.errors import StatementArchived
from apps.balance.models import LedgerEntry
from apps.balance.selectors import account_get
from smsgateway import ids
from smsgateway.partition_names import days_of

# More than an id may be older than its entry: a request's locks and statements have shorter limits, and clocks differ.
WINDOW: Final = dt.timedelta(minutes=2)
_MOMENT: Final = dt.timedelta(microseconds=1)

# One statement, so one snapshot. `near`: of each bound the entries around it; what is numbered below the lowest of them
# lies before the bound. If there are none, the next entry after it tells, or the account itself.
STATEMENT: Final = """
WITH bound (name, at, low, high) AS (
    VALUES ('opening', %(since)s::uuid, %(since_low)s::uuid, %(since_high)s::uuid),
           ('closing', %(until)s::uuid, %(until_low)s::uuid, %(until_high)s::uuid)
), standing AS (
    SELECT bound.name,
           coalesce(near.balance, later.balance, account.balance) AS balance,
           coalesce(near.entries, later.entries, account.entries) AS entries
      FROM bound
     CROSS JOIN (SELECT balance, entries FROM balance_account WHERE customer_id = %(customer)s) AS account
      LEFT JOIN LATERAL (
           SELECT (array_agg(balance_after - amount ORDER BY entry))[1]
                  + coalesce(sum(amount) FILTER (WHERE id < bound.at), 0) AS balance,
                  min(entry) - 1 + count(*) FILTER (WHERE id < bound.at) AS entries
             FROM balance_ledgerentry
            WHERE customer_id = %(customer)s AND id >= bound.low AND id < bound.high
      ) AS near ON true
      LEFT JOIN LATERAL (
           SELECT balance_after - amount AS balance, entry - 1 AS entries
             FROM balance_ledgerentry
            WHERE customer_id = %(customer)s AND id >= bound.high AND near.entries IS NULL
            ORDER BY entry
            LIMIT 1
      ) AS later ON true
)
SELECT 'standing', name, balance::bigint, entries::bigint FROM standing
 UNION ALL
SELECT 'moved', kind, sum(amount)::bigint, count(*)
  FROM balance_ledgerentry
 WHERE customer_id = %(customer)s AND id >= %(since)s::uuid AND id < %(until)s::uuid
 GROUP BY kind
 UNION ALL
SELECT 'archived', partition, amount, entries
  FROM balance_closing AS closing
 WHERE customer_id = %(customer)s
   AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_inherits AS attached
       WHERE attached.inhrelid = to_regclass(closing.partition) AND NOT attached.inhdetachpending)
"""


class Movement(NamedTuple):
    """What the entries of one kind come to, signed, in minor units; and how many they are."""

    amount: int
    entries: int


class Statement(NamedTuple):
    """Of the entries in a range. `opening` + all that `moved` (by kind, every kind) = `closing`, always."""

    opening: int
    moved: dict[str, Movement]
    closing: int
    currency: str


def statement(*, customer_id: UUID, since: dt.datetime, until: dt.datetime) -> Statement:
    """The statement of [since, until). Raises CustomerNotFound, or StatementArchived if entries are not there any more.

    Touches the partitions of the range, and for the bounds of a range without entries those after it.
    """
    account = account_get(customer_id=customer_id)
    parameters = {"customer": customer_id}
    for name, moment in (("since", since), ("until", until)):
        parameters |= {
            name: ids.lowest_id(moment),
            f"{name}_low": ids.lowest_id(moment - WINDOW),
            f"{name}_high": ids.lowest_id(moment + WINDOW),
        }
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, parameters)
        rows = cursor.fetchall()
    standing = {name: Movement(amount, entries) for what, name, amount, entries in rows if what == "standing"}
    found = {name: Movement(amount, entries) for what, name, amount, entries in rows if what == "moved"}
    opening, closing = standing["opening"], standing["closing"]
    moved = {kind: found.pop(kind, Movement(0, 0)) for kind in LedgerEntry.Kind.values} | found
    lacking = any(what == "archived" and _overlaps(name, since, until) for what, name, _, _ in rows)
    amount, entries = (sum(numbers) for numbers in zip(*moved.values(), strict=True))
    gap = opening.amount + amount != closing.amount or opening.entries + entries != closing.entries
    if lacking or gap:
        raise StatementArchived("Ask the gateway's operators to restore the ledger of that time.")
    return Statement(opening.amount, moved, closing.amount, account.currency)


def _overlaps(partition: str, since: dt.datetime, until: dt.datetime) -> bool:
    first, last = days_of(partition, table=LedgerEntry._meta.db_table)
    return first <= (until - _MOMENT).date() and last >= since.date()
