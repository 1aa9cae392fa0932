"""How PostgreSQL plans what reads much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def own_plans() -> Iterator[None]:
    """Statements inside are planned for their own values, in one transaction.

    A plan that is kept for all serves the usual customer: of the largest it may read millions of rows for one page.
    Look-ups of single rows need no such thing, and their plans are worth keeping.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield
