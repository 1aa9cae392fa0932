"""Top-ups, adjustments and refunds: each changes a balance under the account's row lock, with its ledger entry.

The charge of messages is in `apps.balance.charge`. No other code changes a balance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Unpack
from uuid import UUID

from django.db import connection, transaction

from apps.balance import events
from apps.balance.errors import FormUsed, InsufficientBalance, InvalidAmount, ReferenceUsed
from apps.balance.models import Account, BookedForm, LedgerEntry, LowBalance
from apps.balance.outbox import money_outbox_add
from apps.customers.errors import CustomerNotFound
from apps.customers.models import Customer
from apps.customers.services import Profile, customer_create
from smsgateway import ids, money
from smsgateway.postgres.copy import copy_rows

MAX_BALANCE = 2**63 - 1
_LEDGER_COLUMNS: Final = ("id", "customer_id", "entry", "kind", "amount", "balance_after", "message_id", "reference")
_CARRY_ON: Final = """
UPDATE balance_account AS account
   SET balance = changed.balance, entries = changed.entries
  FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS changed (customer_id, balance, entries)
 WHERE account.customer_id = changed.customer_id
"""


class Refund(NamedTuple):
    """The refund of a message, in minor units."""

    message_id: UUID
    amount: int


class Booking(NamedTuple):
    """An entry of the ledger. `is_new`: this call booked it, not an earlier one with the same request."""

    entry: LedgerEntry
    is_new: bool


@transaction.atomic
def prepaid_customer_create(
    *, name: str, segments_per_second: int, currency: str, **profile: Unpack[Profile]
) -> Customer:
    """Create a customer and its account, with a balance of 0. Raises ValidationError."""
    customer = customer_create(name=name, segments_per_second=segments_per_second, **profile)
    Account.objects.create(customer=customer, currency=currency)
    money_outbox_add(events.account_opened(customer, currency=currency))
    return customer


@transaction.atomic
def account_top_up(*, customer_id: UUID, amount: int, reference: str) -> LedgerEntry:
    """Add `amount` minor units (> 0) to the balance, at each call.

    Raises CustomerNotFound, or InvalidAmount if the amount is not positive or the balance would pass a bigint.
    """
    entry = LedgerEntry(kind=LedgerEntry.Kind.TOP_UP, amount=amount, reference=reference)
    return _change(lock_account(customer_id=customer_id), entry)


@transaction.atomic
def account_top_up_once(*, customer_id: UUID, amount: int, reference: str, form_id: UUID | None = None) -> Booking:
    """Add `amount` minor units (> 0) to the balance, once for each reference of the customer's top-ups.

    `form_id`: the confirmed form's, which books once. Raises CustomerNotFound, InvalidAmount, FormUsed, or
    ReferenceUsed if the reference was booked with another amount.
    """
    entry = LedgerEntry(kind=LedgerEntry.Kind.TOP_UP, amount=amount, reference=reference)
    account = lock_account(customer_id=customer_id)
    if (booked := _booked(account, entry, form_id)) is not None:
        return booked
    known = top_up_find(customer_id=customer_id, reference=reference)
    if known is None:
        return _book_form(account, entry, form_id)
    if known.amount != amount:
        shown = money.with_currency(known.amount, account.currency)
        raise ReferenceUsed(f"The reference {reference!r} was booked with {known.amount} minor units ({shown}).")
    return Booking(known, is_new=False)


@transaction.atomic
def account_adjust(*, customer_id: UUID, amount: int, reason: str, form_id: UUID | None = None) -> Booking:
    """Change the balance by `amount` minor units, positive or negative, for the given reason.

    `form_id` as in `account_top_up_once`. Raises CustomerNotFound, InvalidAmount, FormUsed, or InsufficientBalance:
    no balance goes below zero.
    """
    entry = LedgerEntry(kind=LedgerEntry.Kind.ADJUSTMENT, amount=amount, reference=reason)
    account = lock_account(customer_id=customer_id)
    return _booked(account, entry, form_id) or _book_form(account, entry, form_id)


def top_up_find(*, customer_id: UUID, reference: str) -> LedgerEntry | None:
    """The customer's top-up with this reference, if there is one. Reads a small index of every partition."""
    entries = LedgerEntry.objects.filter(customer_id=customer_id, kind=LedgerEntry.Kind.TOP_UP, reference=reference)
    return entries.order_by("id").first()


def form_booking_find(*, customer_id: UUID, form_id: UUID) -> LedgerEntry | None:
    """The entry that this form booked for the customer, if any."""
    form = BookedForm.objects.filter(id=form_id, customer_id=customer_id).first()
    return None if form is None else LedgerEntry.objects.filter(id=form.entry_id).first()


def _booked(account: Account, entry: LedgerEntry, form_id: UUID | None) -> Booking | None:
    """The earlier booking of this form, if any. The caller holds the account's lock."""
    if form_id is None:
        return None
    form = BookedForm.objects.filter(id=form_id).first()
    if form is None:
        return None
    known = LedgerEntry.objects.filter(id=form.entry_id).first()
    same = (form.customer_id, known and (known.kind, known.amount, known.reference))
    if known is None or same != (account.customer_id, (entry.kind, entry.amount, entry.reference)):
        raise FormUsed("Start again with a new form.")
    return Booking(known, is_new=False)


def _book_form(account: Account, entry: LedgerEntry, form_id: UUID | None) -> Booking:
    """Book the entry and mark the form as used. A second use always fails at the primary key."""
    booked = _change(account, entry, form_id=form_id)
    if form_id is not None:
        BookedForm(id=form_id, customer_id=account.customer_id, entry_id=booked.id).save(force_insert=True)
    return Booking(booked, is_new=True)


def _change(account: Account, entry: LedgerEntry, *, form_id: UUID | None = None) -> LedgerEntry:
    """Book a top-up or an adjustment on a locked account."""
    if entry.kind == LedgerEntry.Kind.TOP_UP and entry.amount <= 0:
        raise InvalidAmount("A top-up must be a positive whole number of minor units.")
    if entry.amount == 0:
        raise InvalidAmount("An adjustment must not be zero.")
    if not -MAX_BALANCE <= entry.amount <= MAX_BALANCE - account.balance:
        raise InvalidAmount("The balance would be too large to be stored.")
    if account.balance + entry.amount < 0:
        raise InsufficientBalance("A balance must not fall below zero.", balance=account.balance, cost=-entry.amount)
    _book(account, entry).save(force_insert=True)
    account.save(update_fields=["balance", "entries"])
    money_outbox_add(events.money_booked(entry, account, form_id=form_id))
    if entry.amount > 0:
        # Updated even if nothing changes: the row lock orders this and a concurrent `low_balances_mark`.
        lifted = LowBalance.objects.filter(customer_id=account.customer_id, threshold__lte=account.balance)
        lifted.update(told_at=None, mail_at=None)
    return entry


def account_refund(*, account: Account, refunds: Sequence[Refund]) -> None:
    """Refund messages of one customer. `account` was locked in this transaction by `lock_account`.

    The caller has checked under that lock that none of the messages was refunded before.
    """
    accounts_refund(accounts={account.customer_id: account}, refunds={account.customer_id: refunds})


def accounts_refund(*, accounts: Mapping[UUID, Account], refunds: Mapping[UUID, Sequence[Refund]]) -> None:
    """Refund messages of several customers, in two statements for any number of them.

    By customer's id: the accounts, locked in this transaction by `lock_accounts`, and their refunds. The caller has
    checked under those locks that none of the messages was refunded before.
    """
    entries = [
        _book(
            accounts[customer_id],
            LedgerEntry(kind=LedgerEntry.Kind.REFUND, amount=refund.amount, message_id=refund.message_id),
        )
        for customer_id, of_customer in refunds.items()
        for refund in of_customer
    ]
    entries_write(entries=entries, changed=[accounts[customer_id] for customer_id in refunds])


def entries_write(*, entries: Sequence[LedgerEntry], changed: Collection[Account]) -> None:
    """Write numbered entries and the balances that they lead to, in two statements. The accounts are locked."""
    if not entries:
        return
    with connection.cursor() as cursor:
        copy_rows(
            cursor,
            LedgerEntry._meta.db_table,
            _LEDGER_COLUMNS,
            ([getattr(entry, name) for name in _LEDGER_COLUMNS] for entry in entries),
        )
        cursor.execute(
            _CARRY_ON,
            [
                [account.customer_id for account in changed],
                [account.balance for account in changed],
                [account.entries for account in changed],
            ],
        )


def lock_account(*, customer_id: UUID) -> Account:
    """The account, locked until the transaction ends. Raises CustomerNotFound; refuses to run outside a transaction."""
    try:
        return Account.objects.select_for_update().get(customer_id=customer_id)
    except Account.DoesNotExist:
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.") from None


def lock_accounts(*, customer_ids: Collection[UUID]) -> dict[UUID, Account]:
    """The accounts by customer's id, locked in the order of the ids until the transaction ends.

    Raises CustomerNotFound; refuses to run outside a transaction.
    """
    found = Account.objects.select_for_update().filter(customer_id__in=customer_ids).order_by("customer_id")
    accounts = {account.customer_id: account for account in found}
    for customer_id in customer_ids:
        if customer_id not in accounts:
            raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")
    return accounts


def _book(account: Account, entry: LedgerEntry) -> LedgerEntry:
    """Number the entry and update the account, in memory. The caller holds the account's lock.

    The entry gets its id, and so its time, only here: the form may have been open for minutes before.
    """
    entry.id = ids.new_id()
    account.balance += entry.amount
    account.entries += 1
    entry.customer_id = account.customer_id
    entry.entry = account.entries
    entry.balance_after = account.balance
    return entry
