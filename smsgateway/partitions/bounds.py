"""Bounds on ids, so that PostgreSQL opens only the partitions that these ids span.

`id = ANY(…)` alone opens every partition of a table. `id >= lowest AND id <= highest` beside it leaves out the others.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID


def within(column: str) -> str:
    """The SQL condition that bounds `column`; its parameters come from `id_bounds`."""
    return f"{column} >= %(lowest)s AND {column} <= %(highest)s"


def id_bounds(ids: Collection[UUID]) -> dict[str, Any]:
    """The parameters `ids` (a list), `lowest` and `highest`. `ids` must not be empty."""
    return {"ids": list(ids), "lowest": min(ids), "highest": max(ids)}


def among(column: str, ids: Collection[UUID]) -> dict[str, Any]:
    """The same as arguments of a queryset's `filter`: `column` is one of these ids, which must not be empty."""
    return {f"{column}__in": ids, f"{column}__gte": min(ids), f"{column}__lte": max(ids)}
