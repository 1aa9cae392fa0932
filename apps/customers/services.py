"""What changes customers."""

from __future__ import annotations

from apps.customers.models import Customer


def customer_create(*, name: str, segments_per_second: int) -> Customer:
    """Create a customer, without an account yet. `segments_per_second`: its pace. Raises ValidationError."""
    customer = Customer(name=name, segments_per_second=segments_per_second)
    customer.full_clean()
    customer.save(force_insert=True)
    return customer
