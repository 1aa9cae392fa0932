"""API keys: made, revoked, and recognised.

A key is `sgw_PREFIX_SECRET`. Its secret has 256 random bits, so a plain SHA-256 keeps it safe. Each process remembers
for a few seconds (`API_KEYS_CACHE`) whom a key speaks for: that long, at the most, a revoked key still works.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import secrets
from typing import Final
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from apps.customers.errors import ApiKeyNotFound, CustomerNotFound, InvalidApiKey
from apps.customers.models import ApiKey, Customer
from smsgateway import ids
from smsgateway.remembering import Remembered

_KEY: Final = re.compile(r"sgw_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_USE_RECORDED_EVERY: Final = dt.timedelta(minutes=1)


def key_create(*, customer_id: UUID, label: str = "") -> tuple[ApiKey, str]:
    """A new key of the customer, and its text, which is nowhere else. Raises CustomerNotFound."""
    if not Customer.objects.filter(id=customer_id).exists():
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")
    prefix = secrets.token_hex(4)
    text = f"sgw_{prefix}_{secrets.token_urlsafe(32)}"
    key = ApiKey(customer_id=customer_id, prefix=prefix, digest=_digest(text), label=label)
    key.save(force_insert=True)
    return key, text


def key_revoke(*, prefix: str) -> ApiKey:
    """Revoke a key; doing it again changes nothing. Raises ApiKeyNotFound."""
    ApiKey.objects.filter(prefix=prefix, revoked_at=None).update(revoked_at=Now())
    try:
        return ApiKey.objects.get(prefix=prefix)
    except ApiKey.DoesNotExist:
        raise ApiKeyNotFound(f"No key begins with sgw_{prefix}.") from None


def customer_of(*, text: str, cache_seconds: float) -> UUID:
    """Whom the key speaks for. Raises InvalidApiKey, the same for an unknown key and for a revoked one."""
    return _known.get(text, max_age=cache_seconds)


def _look_up(text: str) -> UUID:
    parts = _KEY.fullmatch(text)
    key = parts and ApiKey.objects.filter(prefix=parts[1], revoked_at=None).first()
    if not key or not hmac.compare_digest(bytes(key.digest), _digest(text)):
        raise InvalidApiKey("Send a key that is in use as Authorization: Bearer sgw_….")
    used_long_ago = Q(last_used_at=None) | Q(last_used_at__lt=Now() - _USE_RECORDED_EVERY)
    ApiKey.objects.filter(used_long_ago, id=key.id).update(last_used_at=Now())
    return key.customer_id


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


_known: Final = Remembered(_look_up)
