"""Two ways to serialize the charges of an account, chosen by `BALANCE_LOCK`.

`row`, the default: SELECT … FOR UPDATE of the account, within the statement that charges; one round trip.
`advisory`: a transaction-level advisory lock per customer. A separate statement takes it, because a statement sees what
was committed when it began, not when its lock was granted. It costs three more round trips, and leaves the row unlocked
for everything but charges. A running fleet may switch between the two: the UPDATE checks the balance again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol
from uuid import UUID

from django.db import connection, transaction

from apps.balance.charge import CHARGE_UNDER_ADVISORY_LOCK, CHARGE_UNDER_ROW_LOCK

# The first of the two keys separates these advisory locks from others in the database.
_ADVISORY_SPACE = 0x534D53  # "SMS"
_TAKE = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"


class ChargeLock(Protocol):
    """How a charge locks its account. `sql` is the charge's part of a statement, to be run within `held`."""

    sql: str

    def held(self, customer_id: UUID) -> contextlib.AbstractContextManager[None]:
        """The context in which the statement runs. On exit the charge is committed and the lock released."""


class RowLock:
    """The charge statement itself locks the account's row."""

    sql = CHARGE_UNDER_ROW_LOCK

    def held(self, customer_id: UUID) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class AdvisoryLock:
    """A separate statement takes an advisory lock before the charge."""

    sql = CHARGE_UNDER_ADVISORY_LOCK

    @contextlib.contextmanager
    def held(self, customer_id: UUID) -> Iterator[None]:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_TAKE, [_ADVISORY_SPACE, str(customer_id)])
            yield


CHARGE_LOCKS: dict[str, ChargeLock] = {"row": RowLock(), "advisory": AdvisoryLock()}
