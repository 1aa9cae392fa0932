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

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from apps.customers.errors import ApiKeyExists, ApiKeyNotFound, CustomerNotFound, InvalidApiKey
from apps.customers.models import ApiKey, Customer
from smsgateway import ids
from smsgateway.ttl_cache import Remembered

_KEY: Final = re.compile(r"sgw_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_USE_RECORDED_EVERY: Final = dt.timedelta(minutes=1)


def key_create(*, customer_id: UUID, label: str = "", prefix: str | None = None) -> tuple[ApiKey, str]:
    """A new key of the customer, and its text, which is nowhere else.

    `prefix`: where a form has chosen it, so that pressing twice makes one key. Raises CustomerNotFound or ApiKeyExists.
    """
    if not Customer.objects.filter(id=customer_id).exists():
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")
    prefix = prefix or prefix_new()
    text = f"sgw_{prefix}_{secrets.token_urlsafe(32)}"
    key = ApiKey(customer_id=customer_id, prefix=prefix, digest=_digest(text), label=label)
    try:
        with transaction.atomic():
            key.save(force_insert=True)
    except IntegrityError:
        raise ApiKeyExists(f"sgw_{prefix} was made before. A key is shown once; make another.") from None
    return key, text


def prefix_new() -> str:
    """The prefix of a key to be made."""
    return secrets.token_hex(4)


def key_revoke(*, prefix: str) -> ApiKey:
    """Revoke a key; doing it again changes nothing. Raises ApiKeyNotFound."""
    _working().filter(prefix=prefix).update(revoked_at=Now())
    return _named(prefix)


@transaction.atomic
def key_rotate(*, prefix: str, overlap: dt.timedelta, new_prefix: str | None = None) -> tuple[ApiKey, str]:
    """A new key with the label of this one, which works for the time of `overlap` still. See `key_create`.

    Raises ApiKeyNotFound if there is no such key or it is revoked.
    """
    if not _working().filter(prefix=prefix, revoked_at=None).update(revoked_at=Now() + overlap):
        raise ApiKeyNotFound(f"sgw_{prefix} is revoked, or was rotated before.")
    old = _named(prefix)
    return key_create(customer_id=old.customer_id, label=old.label, prefix=new_prefix)


def _working() -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(Q(revoked_at=None) | Q(revoked_at__gt=Now()))


def _named(prefix: str) -> ApiKey:
    try:
        return ApiKey.objects.get(prefix=prefix)
    except ApiKey.DoesNotExist:
        raise ApiKeyNotFound(f"No key begins with sgw_{prefix}.") from None


def customer_of(*, text: str, cache_seconds: float) -> UUID:
    """Whom the key speaks for. Raises InvalidApiKey, the same for an unknown key and for a revoked one."""
    return _known.get(text, max_age=cache_seconds)


def prefix_of(text: str) -> str:
    """The part of a key that names it and opens nothing. Raises InvalidApiKey."""
    parts = _KEY.fullmatch(text)
    if not parts:
        raise InvalidApiKey("Send a key that is in use as Authorization: Bearer sgw_….")
    return parts[1]


def customer_of_prefix(*, prefix: str, cache_seconds: float) -> UUID:
    """Whom the key with this prefix speaks for, while it is in use: for sessions that were opened with the key itself.

    Raises InvalidApiKey.
    """
    return _in_use.get(prefix, max_age=cache_seconds)


def _look_up_prefix(prefix: str) -> UUID:
    key = _working().filter(prefix=prefix).first()
    if not key:
        raise InvalidApiKey("The key of this session is not in use any more.")
    return key.customer_id


def _look_up(text: str) -> UUID:
    parts = _KEY.fullmatch(text)
    key = parts and _working().filter(prefix=parts[1]).first()
    if not key or not hmac.compare_digest(bytes(key.digest), _digest(text)):
        raise InvalidApiKey("Send a key that is in use as Authorization: Bearer sgw_….")
    used_long_ago = Q(last_used_at=None) | Q(last_used_at__lt=Now() - _USE_RECORDED_EVERY)
    ApiKey.objects.filter(used_long_ago, id=key.id).update(last_used_at=Now())
    return key.customer_id


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


_known: Final = Remembered(_look_up)
_in_use: Final = Remembered(_look_up_prefix)
