"""What is read of accounts."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from apps.balance.models import Account, LedgerEntry
from apps.customers.errors import CustomerNotFound
from smsgateway import ids
from smsgateway.paging import Page

_MAX_ENTRY = 2**63 - 1


def account_get(*, customer_id: UUID) -> Account:
    """The customer's account. Raises CustomerNotFound."""
    try:
        return Account.objects.get(customer_id=customer_id)
    except Account.DoesNotExist:
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.") from None


def ledger_list(*, customer_id: UUID, page: Page, kind: str | None = None) -> QuerySet[LedgerEntry]:
    """A page of the customer's ledger, the newest entry first, and one entry more if there are more.

    Touches the partitions of the page's time range only.
    """
    entries = LedgerEntry.objects.filter(
        customer_id=customer_id, id__gte=ids.lowest_id(page.since), id__lt=ids.lowest_id(page.until)
    )
    if page.before is not None:
        entries = entries.filter(entry__lt=min(page.before, _MAX_ENTRY))
    if kind is not None:
        entries = entries.filter(kind=kind)
    return entries.order_by("-entry")[: page.limit + 1]


# One index look-up an account and partition; an account whose newest entry is in the archive has nothing to compare.
_OUT_OF_STEP = """
SELECT DISTINCT account.customer_id
  FROM balance_account AS account
  JOIN balance_ledgerentry AS newest
    ON newest.customer_id = account.customer_id AND newest.entry >= account.entries
 WHERE newest.entry > account.entries OR newest.balance_after <> account.balance
"""


def accounts_out_of_step() -> list[UUID]:
    """Customers whose balance or number of entries is not what their newest ledger entry says: something is broken."""
    with connection.cursor() as cursor:
        cursor.execute(_OUT_OF_STEP)
        return [row[0] for row in cursor.fetchall()]


def busiest_customers(*, limit: int) -> list[UUID]:
    """The customers with the most ledger entries, the busiest first."""
    return list(Account.objects.order_by("-entries", "customer_id").values_list("customer_id", flat=True)[:limit])
