"""Reads accounts and their ledgers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from apps.balance.models import Account, LedgerEntry
from apps.customers.errors import CustomerNotFound
from smsgateway import ids
from smsgateway.http.paging import Page

_MAX_ENTRY = 2**63 - 1

# One pass over the ledger for any number of accounts. `balance_opening` stands for archived entries.
ACCOUNTS_OFF: Final = """
SELECT account.customer_id, account.balance, account.entries,
       (coalesce(opening.balance, 0) + coalesce(ledger.amount, 0))::bigint,
       (coalesce(opening.entries, 0) + coalesce(ledger.entries, 0))::bigint
  FROM balance_account AS account
  LEFT JOIN balance_opening AS opening ON opening.customer_id = account.customer_id
  LEFT JOIN (SELECT customer_id, sum(amount) AS amount, count(*) AS entries
               FROM balance_ledgerentry
              WHERE %(customers)s::uuid[] IS NULL OR customer_id = ANY(%(customers)s::uuid[])
              GROUP BY customer_id) AS ledger ON ledger.customer_id = account.customer_id
 WHERE (%(customers)s::uuid[] IS NULL OR account.customer_id = ANY(%(customers)s::uuid[]))
   AND (account.balance, account.entries) IS DISTINCT FROM
       (coalesce(opening.balance, 0) + coalesce(ledger.amount, 0),
        coalesce(opening.entries, 0) + coalesce(ledger.entries, 0))
 ORDER BY account.customer_id
"""


class AccountOff(NamedTuple):
    """An account that differs from its ledger: balances in minor units, and numbers of entries."""

    customer_id: UUID
    balance: int
    entries: int
    ledger_balance: int
    ledger_entries: int


def account_get(*, customer_id: UUID) -> Account:
    """The customer's account. Raises CustomerNotFound."""
    try:
        return Account.objects.get(customer_id=customer_id)
    except Account.DoesNotExist:
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.") from None


def ledger_list(*, customer_id: UUID, page: Page, kind: str | None = None) -> QuerySet[LedgerEntry]:
    """A page of the customer's ledger, the newest entry first, and one entry more if there are more.

    Reads only the partitions of the page's time range.
    """
    entries = LedgerEntry.objects.filter(
        customer_id=customer_id, id__gte=ids.lowest_id(page.since), id__lt=ids.lowest_id(page.until)
    )
    if page.before is not None:
        entries = entries.filter(entry__lt=min(page.before, _MAX_ENTRY))
    if kind is not None:
        entries = entries.filter(kind=kind)
    return entries.order_by("-entry")[: page.limit + 1]


def accounts_off(*, customer_ids: Collection[UUID] | None = None) -> list[AccountOff]:
    """The accounts (of these customers, or of all) whose balance is not opening + sum of the ledger, or whose number of
    entries differs from the ledger. Empty, unless something is broken.

    The result is exact, also while sends go on and partitions are archived or restored. An account that seems wrong is
    checked again, since a statement may be planned just before a partition is detached and run just after.
    """
    found = _accounts_off(customer_ids)
    return _accounts_off([off.customer_id for off in found]) if found else []


def _accounts_off(customer_ids: Collection[UUID] | None) -> list[AccountOff]:
    with connection.cursor() as cursor:
        cursor.execute(ACCOUNTS_OFF, {"customers": None if customer_ids is None else list(customer_ids)})
        return [AccountOff(*row) for row in cursor.fetchall()]


# One index look-up for each account and partition. An account whose newest entry is archived is not compared.
_OUT_OF_STEP = """
SELECT DISTINCT account.customer_id
  FROM balance_account AS account
  JOIN balance_ledgerentry AS newest
    ON newest.customer_id = account.customer_id AND newest.entry >= account.entries
 WHERE newest.entry > account.entries OR newest.balance_after <> account.balance
"""


def accounts_out_of_step() -> list[UUID]:
    """Customers whose balance or number of entries differs from their newest ledger entry: something is broken."""
    with connection.cursor() as cursor:
        cursor.execute(_OUT_OF_STEP)
        return [row[0] for row in cursor.fetchall()]


def busiest_customers(*, limit: int) -> list[UUID]:
    """The customers with the most ledger entries, the busiest first."""
    return list(Account.objects.order_by("-entries", "customer_id").values_list("customer_id", flat=True)[:limit])
