"""Creates and changes customers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypedDict, Unpack
from uuid import UUID

from django.db import transaction

from apps.customers.errors import CustomerNotFound
from apps.customers.models import Customer
from smsgateway import ids


class Profile(TypedDict, total=False):
    """The optional fields of a customer: see `Customer`."""

    messages_per_minute: int | None
    refund_on: list[str]
    email: str
    phone: str


def customer_create(*, name: str, segments_per_second: int, **profile: Unpack[Profile]) -> Customer:
    """Create a customer, without an account yet. `segments_per_second`: its pace. Raises ValidationError."""
    customer = Customer(name=name, segments_per_second=segments_per_second, **profile)
    customer.full_clean()
    customer.save(force_insert=True)
    return customer


@transaction.atomic
def customer_status_set(*, customer_id: UUID, status: str) -> Customer | None:
    """Suspend the customer, or let it send again. None if it already had this status. Raises CustomerNotFound."""
    customer = Customer.objects.select_for_update(no_key=True).filter(id=customer_id).first()
    if customer is None:
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")
    if customer.status == status:
        return None
    customer.status = Customer.Status(status)
    customer.save(update_fields=["status"])
    return customer


def customer_refund_policy(*, customer_id: UUID, refund_on: Collection[str]) -> Customer:
    """Set the failures (`RefundOn`) that refund a message. It applies to messages that are settled from now on.

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
