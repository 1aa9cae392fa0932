"""A person's session at the dashboard: opened with an API key, kept as a signed cookie that holds its prefix alone.

The key itself stays nowhere in the browser. The cookie is HttpOnly (no script reads it), SameSite=Strict (no other site
sends it along), and opens nothing but this service; it ends by itself, and with the key.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from apps.customers import keys
from apps.customers.errors import InvalidApiKey
from smsgateway import config

COOKIE: Final = "smsgateway_reports"
SECONDS: Final = 12 * 3600
_SALT: Final = "reporting.session"


def session_open(response: HttpResponse, *, key: str) -> UUID:
    """Let the browser that gets `response` speak for the key's customer, and return whom. Raises InvalidApiKey."""
    customer_id = keys.customer_of(text=key, cache_seconds=settings.CONFIG.api.keys_cache)
    response.set_cookie(
        COOKIE,
        signing.dumps(keys.prefix_of(key), salt=_SALT),
        max_age=SECONDS,
        httponly=True,
        samesite="Strict",
        secure=settings.CONFIG.general.environment in config.DEPLOYED,
    )
    return customer_id


def session_close(response: HttpResponse) -> None:
    """Let the browser forget its session."""
    response.delete_cookie(COOKIE, samesite="Strict")


def session_holder(request: HttpRequest) -> UUID | None:
    """The customer of the request's session, None if it has none. Raises InvalidApiKey if it has ended."""
    cookie = request.COOKIES.get(COOKIE)
    if cookie is None:
        return None
    try:
        prefix = signing.loads(cookie, salt=_SALT, max_age=SECONDS)
    except signing.BadSignature:
        raise InvalidApiKey("The session has ended: open it again with your key.") from None
    return keys.customer_of_prefix(prefix=prefix, cache_seconds=settings.CONFIG.api.keys_cache)
