"""Two ways to make the charges of one account follow each other, chosen by `BALANCE_LOCK`.

`row`, the default: SELECT … FOR UPDATE of the account, within the statement that charges; one round trip.
`advisory`: a transaction-level advisory lock per customer, taken by a statement of its own, because a statement sees
what was committed when it began, not when its lock was granted. It costs three round trips more, and frees the row for
others than charges. A fleet may change from one to the other while it runs: the UPDATE checks the balance again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol
from uuid import UUID

from django.db import connection, transaction

from apps.balance.charge_sql import CHARGE_UNDER_ADVISORY_LOCK, CHARGE_UNDER_ROW_LOCK

# Beside other advisory locks of the database: the first of the two keys is this purpose's.
_ADVISORY_SPACE = 0x534D53  # "SMS"
_TAKE = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"


class ChargeLock(Protocol):
    """How a charge holds its account. `sql` is the charge's part of a statement, to be run within `held`."""

    sql: str

    def held(self, customer_id: UUID) -> contextlib.AbstractContextManager[None]:
        """Within it the statement runs; at its end the lock is free and the charge has committed."""


class RowLock:
    """The statement itself locks the account's row."""

    sql = CHARGE_UNDER_ROW_LOCK

    def held(self, customer_id: UUID) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class AdvisoryLock:
    """An advisory lock is held around the statement."""

    sql = CHARGE_UNDER_ADVISORY_LOCK

    @contextlib.contextmanager
    def held(self, customer_id: UUID) -> Iterator[None]:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_TAKE, [_ADVISORY_SPACE, str(customer_id)])
            yield


CHARGE_LOCKS: dict[str, ChargeLock] = {"row": RowLock(), "advisory": AdvisoryLock()}
