"""Low balances: a customer with a threshold is notified once when its balance falls below it, and again after a top-up.

Charges are not involved. A process calls `low_balances_mark` every few seconds: two statements in one transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.balance.errors import InvalidThreshold
from apps.balance.models import LowBalance
from apps.balance.services import MAX_BALANCE
from apps.customers.errors import CustomerNotFound
from apps.customers.models import Customer
from smsgateway import ids

_BATCH: Final = 500

# The first statement locks the rows. A top-up changes the same row, so its transaction has ended or waits for us. The
# second statement, whose snapshot is newer than the locks, decides. No account is locked.
_CANDIDATES: Final = """
SELECT alert.customer_id
  FROM balance_lowbalance AS alert
  JOIN balance_account AS account ON account.customer_id = alert.customer_id
 WHERE alert.told_at IS NULL AND account.balance < alert.threshold
 ORDER BY alert.customer_id
 LIMIT %s
   FOR UPDATE OF alert SKIP LOCKED
"""
_NOTICE: Final = """
UPDATE balance_lowbalance AS alert
   SET told_at = statement_timestamp(),
       mail_at = CASE WHEN customer.email <> '' THEN statement_timestamp() END
  FROM balance_account AS account, customers_customer AS customer
 WHERE alert.customer_id = ANY(%s::uuid[])
   AND account.customer_id = alert.customer_id
   AND customer.id = alert.customer_id
   AND alert.told_at IS NULL
   AND account.balance < alert.threshold
RETURNING alert.customer_id, account.balance, alert.threshold, account.currency, alert.told_at
"""
_CLAIM_MAILS: Final = """
UPDATE balance_lowbalance AS alert
   SET mail_at = statement_timestamp() + make_interval(secs => %s)
  FROM balance_account AS account, customers_customer AS customer
 WHERE alert.customer_id IN (
           SELECT customer_id FROM balance_lowbalance
            WHERE mail_at <= statement_timestamp() ORDER BY mail_at LIMIT %s FOR UPDATE SKIP LOCKED)
   AND account.customer_id = alert.customer_id
   AND customer.id = alert.customer_id
RETURNING alert.customer_id, alert.mail_at, customer.name, customer.email, account.balance, alert.threshold,
          account.currency
"""


class Low(NamedTuple):
    """A balance below its threshold; both in minor units."""

    customer_id: UUID
    balance: int
    threshold: int
    currency: str
    at: dt.datetime


class Mail(NamedTuple):
    """An e-mail that the caller must send before `lease` ends."""

    customer_id: UUID
    lease: dt.datetime
    name: str
    address: str
    balance: int
    threshold: int
    currency: str


@transaction.atomic
def low_balance_set(*, customer_id: UUID, threshold: int | None) -> None:
    """Set the threshold, in minor units, below which the customer is notified; None: never.

    A new threshold is checked again, even if the customer was notified before. Raises InvalidThreshold or
    CustomerNotFound.
    """
    if threshold is None:
        LowBalance.objects.filter(customer_id=customer_id).delete()
        return
    if not 0 < threshold <= MAX_BALANCE:
        raise InvalidThreshold("Use a positive amount, or leave it empty for no notification.")
    if not Customer.objects.select_for_update(no_key=True).filter(id=customer_id).exists():
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")
    kept = LowBalance.objects.filter(customer_id=customer_id, threshold=threshold).exists()
    if not kept:
        LowBalance.objects.update_or_create(
            customer_id=customer_id, defaults={"threshold": threshold, "told_at": None, "mail_at": None}
        )


def low_balances_mark() -> Sequence[Low]:
    """The balances that have fallen below their thresholds since the last notification; they are marked as notified.

    Call it in the transaction that stores the notifications. Refuses to run outside one.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("low_balances_mark needs the transaction of the notifications.")
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, [_BATCH])
        candidates = [row[0] for row in cursor.fetchall()]
        if not candidates:
            return []
        cursor.execute(_NOTICE, [candidates])
        return [Low(*row) for row in cursor.fetchall()]


def mails_claim(*, lease_seconds: float, count: int) -> list[Mail]:
    """Claim up to `count` e-mails that are due; they become due again after the lease."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_MAILS, [lease_seconds, count])
        return [Mail(*row) for row in cursor.fetchall()]


def mail_sent(mail: Mail) -> None:
    """Record that an e-mail was sent."""
    LowBalance.objects.filter(customer_id=mail.customer_id, mail_at=mail.lease).update(mail_at=None)
