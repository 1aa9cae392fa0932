"""Low balances: each customer with a threshold is told once that its balance fell below it, and again after a top-up.

Charges know nothing of this. Somebody looks every few seconds (`low_balances_notice`): two statements, one transaction.
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

# First the rows are locked: who tops up changes the row too, so that transaction waits for us or has ended. The second
# statement, whose snapshot is newer than the locks, decides. No account is locked.
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
    """That a balance was found below its threshold; both in minor units."""

    customer_id: UUID
    balance: int
    threshold: int
    currency: str
    at: dt.datetime


class Mail(NamedTuple):
    """An e-mail that is ours to send until `lease`."""

    customer_id: UUID
    lease: dt.datetime
    name: str
    address: str
    balance: int
    threshold: int
    currency: str


@transaction.atomic
def low_balance_set(*, customer_id: UUID, threshold: int | None) -> None:
    """From now on tell of balances below `threshold` minor units; None: of none.

    Another threshold than before is told of anew. Raises InvalidThreshold or CustomerNotFound.
    """
    if threshold is None:
        LowBalance.objects.filter(customer_id=customer_id).delete()
        return
    if not 0 < threshold <= MAX_BALANCE:
        raise InvalidThreshold("It is a positive amount; without one nothing is told.")
    if not Customer.objects.select_for_update(no_key=True).filter(id=customer_id).exists():
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")
    kept = LowBalance.objects.filter(customer_id=customer_id, threshold=threshold).exists()
    if not kept:
        LowBalance.objects.update_or_create(
            customer_id=customer_id, defaults={"threshold": threshold, "told_at": None, "mail_at": None}
        )


def low_balances_notice() -> Sequence[Low]:
    """Those that have fallen below their thresholds and were not told yet; they count as told.

    To be called in the transaction that notes what they are to be told. Refuses to run outside one.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("low_balances_notice needs the transaction of who tells.")
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, [_BATCH])
        candidates = [row[0] for row in cursor.fetchall()]
        if not candidates:
            return []
        cursor.execute(_NOTICE, [candidates])
        return [Low(*row) for row in cursor.fetchall()]


def mails_claim(*, lease_seconds: float, count: int) -> list[Mail]:
    """Up to so many e-mails that are due; they come back after the lease."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_MAILS, [lease_seconds, count])
        return [Mail(*row) for row in cursor.fetchall()]


def mail_sent(mail: Mail) -> None:
    """It is sent, and not due again."""
    LowBalance.objects.filter(customer_id=mail.customer_id, mail_at=mail.lease).update(mail_at=None)
