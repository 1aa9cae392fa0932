"""Query plans for statements that read many rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def own_plans() -> Iterator[None]:
    """Run the block in one transaction in which PostgreSQL plans each statement for its own values.

    A cached plan suits the average customer; for the largest it may read millions of rows for one page. Look-ups of
    single rows do not need this and benefit from cached plans.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield
