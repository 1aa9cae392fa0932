"""The operations on accounts, as described in the OpenAPI document."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from apps.balance.models import LedgerEntry
from apps.customers.errors import CustomerNotFound, InvalidApiKey, WrongCustomer
from smsgateway.http.openapi import PAGE, Amount, Currency, Moment, Ulid, operation, query_parameter


class BalanceAnswer(msgspec.Struct):
    """The balance, in minor units of the currency."""

    customer_id: Ulid
    balance: Amount
    currency: Currency


class Transaction(msgspec.Struct):
    """An entry of the ledger. `entry` numbers the account's entries from 1 without gaps; `amount` is signed."""

    id: Ulid
    entry: int
    at: Moment
    kind: Literal["topup", "charge", "refund", "adjustment"]
    amount: Amount
    balance_after: Amount
    message_id: Ulid | None
    reference: str


class TransactionsAnswer(msgspec.Struct):
    """A page of the ledger, the newest entry first; `next_cursor` brings the next page."""

    transactions: list[Transaction]
    next_cursor: str | None


_PROBLEMS: Final = (InvalidApiKey, WrongCustomer, CustomerNotFound)

BALANCE: Final = operation(
    "getBalance", "Get a customer's balance", answer=BalanceAnswer, problems_of=_PROBLEMS, tag="money"
)
TRANSACTIONS: Final = operation(
    "listTransactions",
    "List a customer's ledger, the newest entry first",
    answer=TransactionsAnswer,
    problems_of=_PROBLEMS,
    parameters=[
        query_parameter("kind", "One kind only.", {"type": "string", "enum": list(LedgerEntry.Kind.values)}),
        *PAGE,
    ],
    tag="money",
)
