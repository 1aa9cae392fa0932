"""What changes customers."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from apps.customers.errors import CustomerNotFound
from apps.customers.models import Customer
from smsgateway import ids


def customer_create(*, name: str, segments_per_second: int) -> Customer:
    """Create a customer, without an account yet. `segments_per_second`: its pace. Raises ValidationError."""
    customer = Customer(name=name, segments_per_second=segments_per_second)
    customer.full_clean()
    customer.save(force_insert=True)
    return customer


def customer_refund_policy(*, customer_id: UUID, refund_on: Collection[str]) -> Customer:
    """Say which failures (`RefundOn`) give a message's cost back; it holds for what is settled from now on.

    Raises CustomerNotFound or ValidationError.
    """
    try:
        customer = Customer.objects.get(id=customer_id)
    except Customer.DoesNotExist:
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.") from None
    customer.refund_on = sorted(set(refund_on))
    customer.full_clean()
    customer.save(update_fields=["refund_on"])
    return customer
