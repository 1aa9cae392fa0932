"""The price of a segment: the rate with the longest matching prefix, the customer's own rates before the general ones.

Each process keeps all rates in memory and reads them again every few seconds (`SMS_RATES_REFRESH`). A message keeps the
price at which it was accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from apps.sms.models import Rate
from smsgateway.config.settings import Sms
from smsgateway.ttl_cache import Refreshed

Prices = Mapping[str, int]


class RateTable:
    """All rates at one moment, by customer (None: the general ones) and prefix."""

    def __init__(self, rates: Mapping[UUID | None, Prices]) -> None:
        self._rates = rates
        self._longest = {customer: max(map(len, prices)) for customer, prices in rates.items()}

    def price(self, recipient: str, *, customer_id: UUID | None, default: int) -> int:
        """The price of a segment to an E.164 number."""
        digits = recipient[1:]
        for customer in (customer_id, None) if customer_id else (None,):
            prices = self._rates.get(customer)
            if prices:
                for length in range(min(self._longest[customer], len(digits)), -1, -1):
                    if (found := prices.get(digits[:length])) is not None:
                        return found
        return default


def read() -> RateTable:
    """The rates as they are in the database."""
    found: dict[UUID | None, dict[str, int]] = {}
    for customer_id, prefix, price in Rate.objects.values_list("customer_id", "prefix", "price"):
        found.setdefault(customer_id, {})[prefix] = price
    return RateTable(found)


_TABLE: Final = Refreshed(read)


def prices(*, customer_id: UUID | None, config: Sms) -> Callable[[str], int]:
    """A function from an E.164 number to the customer's price of a segment. Raises django.db.OperationalError."""
    table = _TABLE.get(max_age=config.rates_refresh)
    default = config.cost_per_segment
    return lambda recipient: table.price(recipient, customer_id=customer_id, default=default)
