"""Creates, rotates, revokes and verifies API keys.

A key is `sgw_PREFIX_SECRET`. Its secret has 256 random bits, so a plain SHA-256 protects it. Each process caches the
customer of a key for a few seconds (`API_KEYS_CACHE`), so a revoked key can work that much longer.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from apps.customers.errors import ApiKeyExists, ApiKeyNotFound, CustomerNotFound, InvalidApiKey
from apps.customers.models import ApiKey, Customer
from smsgateway import ids
from smsgateway.ttl_cache import Remembered, RememberedTogether

_KEY: Final = re.compile(r"sgw_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_USE_RECORDED_EVERY: Final = dt.timedelta(minutes=1)


def key_create(*, customer_id: UUID, label: str = "", prefix: str | None = None) -> tuple[ApiKey, str]:
    """Create a key. Returns it and its text, which is not stored.

    `prefix`: set by a form, so that submitting it twice creates one key. Raises CustomerNotFound or ApiKeyExists.
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
        raise ApiKeyExists(f"sgw_{prefix} was created before. A key is shown once; create another.") from None
    return key, text


def prefix_new() -> str:
    """A random prefix for a new key."""
    return secrets.token_hex(4)


def key_revoke(*, prefix: str) -> ApiKey:
    """Revoke a key; doing it again changes nothing. Raises ApiKeyNotFound."""
    _valid_keys().filter(prefix=prefix).update(revoked_at=Now())
    return _key(prefix)


@transaction.atomic
def key_rotate(*, prefix: str, overlap: dt.timedelta, new_prefix: str | None = None) -> tuple[ApiKey, str]:
    """Create a key with the same label. The old key works for another `overlap`. See `key_create`.

    Raises ApiKeyNotFound if there is no such key or it is revoked.
    """
    if not _valid_keys().filter(prefix=prefix, revoked_at=None).update(revoked_at=Now() + overlap):
        raise ApiKeyNotFound(f"sgw_{prefix} is revoked, or was rotated before.")
    old = _key(prefix)
    return key_create(customer_id=old.customer_id, label=old.label, prefix=new_prefix)


def _valid_keys() -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(Q(revoked_at=None) | Q(revoked_at__gt=Now()))


def _key(prefix: str) -> ApiKey:
    try:
        return ApiKey.objects.get(prefix=prefix)
    except ApiKey.DoesNotExist:
        raise ApiKeyNotFound(f"No key begins with sgw_{prefix}.") from None


def customer_of(*, text: str, cache_seconds: float) -> UUID:
    """The key's customer. Raises InvalidApiKey, which is the same for an unknown and for a revoked key."""
    found = _customers_by_key.get(text, max_age=cache_seconds)
    if found is None:
        raise InvalidApiKey("Send a valid key as Authorization: Bearer sgw_….")
    return found


def prefix_of(text: str) -> str:
    """The public part of a key. Raises InvalidApiKey if the text is not a key."""
    parts = _KEY.fullmatch(text)
    if not parts:
        raise InvalidApiKey("Send a valid key as Authorization: Bearer sgw_….")
    return parts[1]


def customer_of_prefix(*, prefix: str, cache_seconds: float) -> UUID:
    """The customer of the valid key with this prefix: for sessions that were opened with the whole key.

    Raises InvalidApiKey.
    """
    return _customers_by_prefix.get(prefix, max_age=cache_seconds)


def _look_up_prefix(prefix: str) -> UUID:
    key = _valid_keys().filter(prefix=prefix).first()
    if not key:
        raise InvalidApiKey("The key of this session is no longer valid.")
    return key.customer_id


def _look_up(texts: Sequence[str]) -> dict[str, UUID]:
    """The customers of those texts that are valid keys. Records that these were used."""
    digests: dict[str, dict[str, bytes]] = {}
    for text in texts:
        if parts := _KEY.fullmatch(text):
            digests.setdefault(parts[1], {})[text] = _digest(text)
    if not digests:
        return {}
    found, used = {}, []
    used_long_ago = dt.datetime.now(tz=dt.UTC) - _USE_RECORDED_EVERY
    keys = _valid_keys().filter(prefix__in=list(digests))
    for id_, prefix, stored, customer_id, used_at in keys.values_list(
        "id", "prefix", "digest", "customer_id", "last_used_at"
    ):
        for text, digest in digests[prefix].items():
            if hmac.compare_digest(bytes(stored), digest):
                found[text] = customer_id
                if used_at is None or used_at < used_long_ago:
                    used.append(id_)
    if used:
        ApiKey.objects.filter(id__in=used).update(last_used_at=Now())
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


_customers_by_key: Final = RememberedTogether(_look_up, name="api-keys")
_customers_by_prefix: Final = Remembered(_look_up_prefix)
