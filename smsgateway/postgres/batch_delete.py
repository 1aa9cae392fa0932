"""Deletes many rows in batches, each in a short transaction of its own."""

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
    """Run the DELETE until a batch deletes fewer rows than its limit; return the number of deleted rows.

    The statement must delete at most `%(limit)s` rows. A batch that exceeds `statement_timeout` is tried again with
    fewer rows, so that a run on a slow disk makes progress. Raises django.db.Error; earlier batches stay deleted.
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
