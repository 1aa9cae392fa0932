"""The events of money on Kafka: bookings that follow from no message, and new accounts.

Charges and refunds follow from messages: they are on `sms.accepted` and `sms.status`. The events here are what
`manage.py recover` needs besides, to rebuild the balances of a database that was restored to an earlier time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from smsgateway import ids

if TYPE_CHECKING:  # readers of events need no Django
    from apps.balance.models import Account, LedgerEntry
    from apps.customers.models import Customer


class MoneyBooked(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="booked"):
    """Topic `sms.money`: a top-up or an adjustment was booked. `entry_id` is that of its ledger entry, `form_id` of the
    confirmed form, if any."""

    v: int = 1
    entry_id: str
    customer_id: str
    kind: str
    amount: int
    balance_after: int
    entry: int
    currency: str
    reference: str = ""
    form_id: str = ""


class AccountOpened(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="opened"):
    """Topic `sms.money`: a customer and its account were created."""

    v: int = 1
    customer_id: str
    name: str
    segments_per_second: int
    currency: str


MoneyEvent = MoneyBooked | AccountOpened

encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(MoneyEvent).decode
# Raised by decoding bytes that are not such an event.
UnreadableEvent: Final = (ValueError, RecursionError)


def money_booked(entry: LedgerEntry, account: Account, *, form_id: UUID | None = None) -> MoneyBooked:
    """The event of a booked entry."""
    return MoneyBooked(
        entry_id=ids.to_text(entry.id),
        customer_id=ids.to_text(entry.customer_id),
        kind=str(entry.kind),
        amount=entry.amount,
        balance_after=entry.balance_after,
        entry=entry.entry,
        currency=account.currency,
        reference=entry.reference,
        form_id=ids.to_text(form_id) if form_id else "",
    )


def account_opened(customer: Customer, *, currency: str) -> AccountOpened:
    """The event of a new customer."""
    return AccountOpened(
        customer_id=ids.to_text(customer.id),
        name=customer.name,
        segments_per_second=customer.segments_per_second,
        currency=currency,
    )
