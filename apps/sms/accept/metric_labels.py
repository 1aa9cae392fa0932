"""The label of a customer in metrics: its id if it is one of the busiest, else `other`. This bounds their number."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog
from django.db import DatabaseError

from apps.balance.selectors import busiest_customers
from smsgateway import ids
from smsgateway.ttl_cache import Remembered

log = structlog.get_logger(__name__)

OTHER: Final = "other"
_REFRESH_SECONDS: Final = 300.0

_busiest: Remembered[int, frozenset[UUID]] = Remembered(lambda limit: frozenset(busiest_customers(limit=limit)))
# A customer keeps its label, or its counter would stop in the middle of a graph.
_labels: dict[UUID, str] = {}


def customer_label(customer_id: UUID, *, limit: int) -> str:
    """The customer's label. `limit`: how many customers have one; a process uses at most twice as many in its life.

    Never raises, because no send may fail for want of a label.
    """
    if limit == 0:
        return OTHER
    if label := _labels.get(customer_id):
        return label
    try:
        busiest = _busiest.get(limit, max_age=_REFRESH_SECONDS)
    except DatabaseError as error:
        log.warning("busiest_unknown", error=str(error).strip())
        return OTHER
    if customer_id not in busiest or len(_labels) >= 2 * limit:
        return OTHER
    return _labels.setdefault(customer_id, ids.to_text(customer_id))
