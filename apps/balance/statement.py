"""An account's statement: opening balance, movements by kind and closing balance, exactly as in the ledger.

An entry has the time of its id. A charge has its message's id, which is made just before the account is locked, so two
entries may have numbers in another order than their ids. Near a bound (WINDOW) entries are read one by one. All the
rest follows from `entry` and `balance_after`, so entries before the statement may be archived.

If that does not add up, or the days around a bound are archived, all entries of the account are summed instead, with
closing rows for archived ones. That is exact in any order. Entries that are missing even then are really missing.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from apps.balance.errors import StatementArchived
from apps.balance.models import LedgerEntry
from apps.balance.selectors import account_get
from smsgateway import ids
from smsgateway.partitions.spans import days_of

# Longer than an id can be older than its entry: the limits of a request's locks and statements are shorter, and clocks
# differ by less. Versions before BookedForm gave top-ups the time when their form was shown, up to 15 minutes earlier.
WINDOW: Final = dt.timedelta(minutes=20)
_MOMENT: Final = dt.timedelta(microseconds=1)

# One statement, so one snapshot. `near`: the entries around each bound; those with lower numbers are before the bound.
# Without entries there, the next entry after it has the balance, or else the account itself.
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

# One statement, so one snapshot: by kind, the sums before the statement, in it and in all; and the archived sums.
_SUMMED: Final = """
SELECT 'account', '', balance, entries, 0, 0, 0, 0 FROM balance_account WHERE customer_id = %(customer)s
 UNION ALL
SELECT 'kind', kind, sum(amount)::bigint, count(*),
       coalesce(sum(amount) FILTER (WHERE id < %(since)s::uuid), 0)::bigint,
       count(*) FILTER (WHERE id < %(since)s::uuid),
       coalesce(sum(amount) FILTER (WHERE id >= %(since)s::uuid AND id < %(until)s::uuid), 0)::bigint,
       count(*) FILTER (WHERE id >= %(since)s::uuid AND id < %(until)s::uuid)
  FROM balance_ledgerentry
 WHERE customer_id = %(customer)s
 GROUP BY kind
 UNION ALL
SELECT 'archived', partition, amount, entries, 0, 0, 0, 0
  FROM balance_closing AS closing
 WHERE customer_id = %(customer)s
   AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_inherits AS attached
       WHERE attached.inhrelid = to_regclass(closing.partition) AND NOT attached.inhdetachpending)
"""


class Movement(NamedTuple):
    """The sum of the entries of one kind, signed, in minor units; and their number."""

    amount: int
    entries: int


class Statement(NamedTuple):
    """The statement of a time range. `opening` + the sum of `moved` (by kind, every kind) = `closing`, always."""

    opening: int
    moved: dict[str, Movement]
    closing: int
    currency: str


def statement(*, customer_id: UUID, since: dt.datetime, until: dt.datetime) -> Statement:
    """The statement of [since, until). Raises CustomerNotFound, or StatementArchived if it needs archived entries.

    Reads the partitions of the range, and for the bounds of a range without entries those after it.
    """
    account = account_get(customer_id=customer_id)
    parameters: dict[str, Any] = {"customer": customer_id}
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
    archived = [name for what, name, _, _ in rows if what == "archived"]
    if any(_overlaps(name, since, until) for name in archived):
        raise StatementArchived("Ask the gateway's operators to restore the ledger of that time.")
    opening, closing = standing["opening"], standing["closing"]
    # With archived entries before it, an entry out of order at one bound makes the sum wrong, which is noticed. Two of
    # them, one at each bound, may cancel each other out.
    between_archives = all(
        any(_overlaps(name, bound - WINDOW, bound + WINDOW) for name in archived) for bound in (since, until)
    )
    if between_archives or _plus(opening, *found.values()) != closing:
        return _summed(parameters, since=since, currency=account.currency)
    return Statement(opening.amount, _every_kind(found), closing.amount, account.currency)


def _summed(parameters: dict[str, Any], *, since: dt.datetime, currency: str) -> Statement:
    """The statement by sums of all entries, in any order. Raises StatementArchived if one is missing.

    Tries twice, since a statement may be planned just before a partition is detached and run just after.
    """
    for _ in range(2):
        with connection.cursor() as cursor:
            cursor.execute(_SUMMED, parameters)
            rows = cursor.fetchall()
        account = next(Movement(*row[2:4]) for row in rows if row[0] == "account")
        archived = {row[1]: Movement(*row[2:4]) for row in rows if row[0] == "archived"}
        kinds = {
            row[1]: (Movement(*row[2:4]), Movement(*row[4:6]), Movement(*row[6:8])) for row in rows if row[0] == "kind"
        }
        if _plus(*(everything for everything, _, _ in kinds.values()), *archived.values()) == account:
            earlier = [amounts for name, amounts in archived.items() if _days(name)[1] < since.date()]
            opening = _plus(*(before for _, before, _ in kinds.values()), *earlier)
            moved = {kind: within for kind, (_, _, within) in kinds.items()}
            return Statement(opening.amount, _every_kind(moved), _plus(opening, *moved.values()).amount, currency)
    raise StatementArchived("Entries are missing. Ask the gateway's operators to check the account's ledger.")


def _every_kind(found: dict[str, Movement]) -> dict[str, Movement]:
    return {kind: Movement(0, 0) for kind in LedgerEntry.Kind.values} | found


def _plus(*amounts: Movement) -> Movement:
    return Movement(sum(each.amount for each in amounts), sum(each.entries for each in amounts))


def _overlaps(partition: str, since: dt.datetime, until: dt.datetime) -> bool:
    first, last = _days(partition)
    return first <= (until - _MOMENT).date() and last >= since.date()


def _days(partition: str) -> tuple[dt.date, dt.date]:
    return days_of(partition, table=LedgerEntry._meta.db_table)
