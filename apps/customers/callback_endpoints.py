"""Callback endpoints, and the secrets that sign their callbacks (Standard Webhooks, symmetric keys)."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import secrets
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final, Literal
from uuid import UUID

from django.db import transaction

from apps.customers.errors import CallbackEndpointDisabled, CallbackEndpointNotFound, CustomerNotFound
from apps.customers.models import CallbackEndpoint, CallbackHealth, CallbackSecret, Customer
from smsgateway import ids
from smsgateway.postgres.batch_delete import rows_delete

# The statuses of messages that a customer can ask callbacks for. The default: the final ones, and `unknown`, which may
# stay a message's last status.
Status = Literal["submitted", "unknown", "canceled", "expired", "rejected", "failed", "undelivered", "delivered"]
DEFAULT_STATUSES: Final[tuple[Status, ...]] = (
    "unknown",
    "canceled",
    "expired",
    "rejected",
    "failed",
    "undelivered",
    "delivered",
)
OVERLAP: Final = dt.timedelta(hours=24)
BY_CUSTOMER: Final = "by the customer"
# A header has a signature for each live secret. This bounds it, however often a customer rotates its secret.
_MAX_LIVE: Final = 5
_KEY_BYTES: Final = 32
_PURGE: Final = """
DELETE FROM customers_callbacksecret
 WHERE id = ANY (ARRAY(
    SELECT id FROM customers_callbacksecret WHERE expires_at < %(before)s ORDER BY id LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
"""


def endpoint_get(*, customer_id: UUID) -> CallbackEndpoint:
    """The customer's endpoint. Raises CustomerNotFound or CallbackEndpointNotFound."""
    found = CallbackEndpoint.objects.filter(customer_id=customer_id).first()
    if found is None:
        customer_require(customer_id=customer_id)
        raise CallbackEndpointNotFound("Set one with PUT /v1/customers/{id}/callback.")
    return found


def endpoint_enabled(*, customer_id: UUID) -> CallbackEndpoint:
    """The customer's endpoint. Raises CallbackEndpointDisabled, CustomerNotFound or CallbackEndpointNotFound."""
    endpoint = endpoint_get(customer_id=customer_id)
    if endpoint.disabled_at is not None:
        raise CallbackEndpointDisabled(f"It was disabled {endpoint.disabled_reason}; enable it with PUT.")
    return endpoint


def endpoint_paused_until(*, customer_id: UUID) -> dt.datetime | None:
    """When the customer's endpoint is probed next; None unless it is paused because its calls have all failed."""
    found = CallbackHealth.objects.filter(customer_id=customer_id, host="").first()
    return None if found is None else found.paused_until


@transaction.atomic
def endpoint_set(
    *, customer_id: UUID, url: str, statuses: Sequence[str], enabled: bool
) -> tuple[CallbackEndpoint, str | None]:
    """Set the customer's endpoint. Returns it and, the first time, the secret to show. Raises CustomerNotFound.

    This enables a disabled endpoint again, unless `enabled` is false. The secret may be older than the endpoint: a
    callback to a message's own URL created it, and it was never shown.
    """
    _lock(customer_id)
    known = CallbackEndpoint.objects.filter(customer_id=customer_id).first()
    endpoint = known or CallbackEndpoint(customer_id=customer_id)
    endpoint.url, endpoint.statuses = url, list(statuses)
    if enabled:
        endpoint.disabled_at, endpoint.disabled_reason = None, ""
    elif endpoint.disabled_at is None:
        endpoint.disabled_at, endpoint.disabled_reason = dt.datetime.now(tz=dt.UTC), BY_CUSTOMER
    endpoint.save()
    CallbackHealth.objects.filter(customer_id=customer_id, host="").delete()  # the customer says that it works
    live = _live([customer_id], now=dt.datetime.now(tz=dt.UTC))
    if not live:
        return endpoint, _make(customer_id)
    return endpoint, live[0].secret if known is None else None


def endpoint_disable(*, customer_id: UUID, url: str, reason: str) -> bool:
    """Disable the endpoint, if it still has this URL. True if it was enabled until now."""
    enabled = CallbackEndpoint.objects.filter(customer_id=customer_id, url=url, disabled_at=None)
    return enabled.update(disabled_at=dt.datetime.now(tz=dt.UTC), disabled_reason=reason) == 1


@transaction.atomic
def secret_rotate(*, customer_id: UUID) -> tuple[str, dt.datetime]:
    """Create a secret. Returns it, and the time until which the old ones sign as well. Raises CustomerNotFound."""
    _lock(customer_id)
    now = dt.datetime.now(tz=dt.UTC)
    until = now + OVERLAP
    CallbackSecret.objects.filter(customer_id=customer_id, expires_at=None).update(expires_at=until)
    older = _live([customer_id], now=now)[_MAX_LIVE - 1 :]
    CallbackSecret.objects.filter(id__in=[secret.id for secret in older]).delete()
    return _make(customer_id), until


def secrets_live(*, customer_ids: Collection[UUID]) -> dict[UUID, list[str]]:
    """The secrets that sign each customer's callbacks now, newest first. Creates the first one of a customer.

    Customers that do not exist are missing from the result.
    """
    now = dt.datetime.now(tz=dt.UTC)
    found: defaultdict[UUID, list[str]] = defaultdict(list)
    for secret in _live(customer_ids, now=now):
        found[secret.customer_id].append(secret.secret)
    for customer_id in sorted(set(customer_ids) - found.keys()):
        with contextlib.suppress(CustomerNotFound):
            found[customer_id] = _first_secret(customer_id, now=now)
    return found


@transaction.atomic
def _first_secret(customer_id: UUID, *, now: dt.datetime) -> list[str]:
    _lock(customer_id)
    # Another process may have made one before this one got the lock.
    return [secret.secret for secret in _live([customer_id], now=now)] or [_make(customer_id)]


def secrets_list(*, customer_id: UUID) -> list[CallbackSecret]:
    """The customer's secrets that sign now, newest first."""
    return _live([customer_id], now=dt.datetime.now(tz=dt.UTC))


def secrets_purge(*, now: dt.datetime) -> int:
    """Delete expired secrets, in batches. Returns how many."""
    return rows_delete(_PURGE, {"before": now})


def customer_require(*, customer_id: UUID) -> None:
    """Raises CustomerNotFound."""
    if not Customer.objects.filter(id=customer_id).exists():
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")


def _lock(customer_id: UUID) -> None:
    """Lock the customer, so that changes of its endpoint and secrets run one after the other."""
    if Customer.objects.select_for_update(no_key=True).filter(id=customer_id).first() is None:
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")


def _live(customer_ids: Collection[UUID], *, now: dt.datetime) -> list[CallbackSecret]:
    kept = CallbackSecret.objects.filter(customer_id__in=customer_ids)
    return list((kept.filter(expires_at=None) | kept.filter(expires_at__gt=now)).order_by("-id"))


def _make(customer_id: UUID) -> str:
    text = "whsec_" + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    CallbackSecret.objects.create(customer_id=customer_id, secret=text)
    return text
