"""Deletes many rows in batches: each is a transaction of its own that ends soon, and what is deleted stays deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog
from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

log = structlog.get_logger(__name__)

BATCH: Final = 5_000
_SMALLEST: Final = 10


def rows_delete(statement: str, parameters: Mapping[str, Any], *, batch: int = BATCH) -> int:
    """Run the DELETE until a batch deletes less than its limit; return how many rows are gone.

    The statement deletes at most `%(limit)s` rows. A batch that PostgreSQL cancels for its time (`statement_timeout`)
    is tried again with fewer rows, so a run on a slow disk gets on all the same. Raises django.db.Error; what was
    deleted before stays deleted.
    """
    deleted = 0
    while True:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, {**parameters, "limit": batch})
                count: int = cursor.rowcount
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled) or batch <= _SMALLEST:
                raise
            batch = max(_SMALLEST, batch // 4)
            log.warning("batch_delete_smaller", rows=batch)
            continue
        deleted += count
        if count < batch:
            return deleted
