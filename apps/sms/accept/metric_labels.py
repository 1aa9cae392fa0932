"""What a customer is called in metrics: by its id if it is one of the busiest, else `other`. So labels are bounded."""

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
# Who has had a label keeps it, or its counter would stand still in the middle of a graph.
_labelled: dict[UUID, str] = {}


def customer_label(customer_id: UUID, *, limit: int) -> str:
    """`limit`: how many have a label of their own; a process gives at most twice as many while it lives.

    Never raises: no send fails for a label.
    """
    if limit == 0:
        return OTHER
    if label := _labelled.get(customer_id):
        return label
    try:
        busiest = _busiest.get(limit, max_age=_REFRESH_SECONDS)
    except DatabaseError as error:
        log.warning("busiest_unknown", error=str(error).strip())
        return OTHER
    if customer_id not in busiest or len(_labelled) >= 2 * limit:
        return OTHER
    return _labelled.setdefault(customer_id, ids.to_text(customer_id))
