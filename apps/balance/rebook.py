"""Books entries again that a restored database lost: under their own ids, so each is booked once.

Entries come from events. Their order is not that of the time when they were booked, so a charge may come before the
refund that paid for it. Such a charge is left out, and the caller tries it again later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from apps.balance.models import Account, BookedForm, LedgerEntry
from apps.balance.services import entries_write
from smsgateway import ids
from smsgateway.partitions.bounds import among
from smsgateway.partitions.lookup import archived_at

MISSING_CREDIT: Final = "recovery: credit that is not on Kafka"


class Lost(NamedTuple):
    """An entry that may be missing in the ledger. `amount`: signed, in minor units."""

    id: UUID
    customer_id: UUID
    kind: str
    amount: int
    message_id: UUID | None = None
    reference: str = ""
    form_id: UUID | None = None


class Rebooked(NamedTuple):
    """The ids that were booked now, and those that the balance does not cover. `added`: minor units by customer, which
    were added to cover them."""

    booked: set[UUID]
    uncovered: set[UUID]
    added: dict[UUID, int]


def entries_known(*, entry_ids: Collection[UUID]) -> set[UUID]:
    """Those of these entries that the ledger has."""
    if not entry_ids:
        return set()
    return set(LedgerEntry.objects.filter(**among("id", entry_ids)).values_list("id", flat=True))


def entries_rebook(*, accounts: Mapping[UUID, Account], lost: Sequence[Lost], cover: bool) -> Rebooked:
    """Book those of the entries that the ledger does not have, in their order.

    `accounts`: by customer, locked in this transaction by `lock_accounts`. `cover`: where a balance would fall below
    zero, book the missing amount as an adjustment first: it was there when the entry was booked at first.
    """
    known = entries_known(entry_ids=[one.id for one in lost])
    table = LedgerEntry._meta.db_table
    known |= {one.id for one in lost if one.id not in known and archived_at(table, one.id) is not None}
    new = list({one.id: one for one in lost if one.id not in known}.values())
    entries: list[LedgerEntry] = []
    uncovered: set[UUID] = set()
    added = _missing_credit(accounts, new) if cover else {}
    for customer_id, amount in added.items():
        credit = Lost(ids.new_id(), customer_id, LedgerEntry.Kind.ADJUSTMENT, amount, reference=MISSING_CREDIT)
        entries.append(_entry(accounts[customer_id], credit))
    for one in new:
        if accounts[one.customer_id].balance + one.amount < 0:
            uncovered.add(one.id)
        else:
            entries.append(_entry(accounts[one.customer_id], one))
    changed = {entry.customer_id for entry in entries}
    entries_write(entries=entries, changed=[accounts[customer_id] for customer_id in changed])
    booked = {one.id for one in new} - uncovered
    forms = [
        BookedForm(id=one.form_id, customer_id=one.customer_id, entry_id=one.id)
        for one in lost
        if one.form_id and one.id in booked
    ]
    BookedForm.objects.bulk_create(forms, ignore_conflicts=True)
    return Rebooked(booked, uncovered, added)


def _missing_credit(accounts: Mapping[UUID, Account], new: Sequence[Lost]) -> dict[UUID, int]:
    """By customer, what its balance lacks to book these entries in their order."""
    balances = {customer_id: account.balance for customer_id, account in accounts.items()}
    lowest: dict[UUID, int] = {}
    for one in new:
        balances[one.customer_id] += one.amount
        lowest[one.customer_id] = min(lowest.get(one.customer_id, 0), balances[one.customer_id])
    return {customer_id: -balance for customer_id, balance in lowest.items() if balance < 0}


def _entry(account: Account, one: Lost) -> LedgerEntry:
    account.balance += one.amount
    account.entries += 1
    return LedgerEntry(
        id=one.id,
        customer_id=one.customer_id,
        entry=account.entries,
        kind=one.kind,
        amount=one.amount,
        balance_after=account.balance,
        message_id=one.message_id,
        reference=one.reference,
    )
