"""The dashboard's session: opened with an API key, and stored as a signed cookie that holds only the key's prefix.

The browser does not store the key itself. The cookie is HttpOnly (scripts cannot read it), SameSite=Strict (other sites
cannot send it), and valid for this service only. It expires by itself, and when the key is revoked.
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
    """Open a session for the key's customer by a cookie in `response`; returns the customer. Raises InvalidApiKey."""
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
    """Delete the session's cookie."""
    response.delete_cookie(COOKIE, samesite="Strict")


def session_holder(request: HttpRequest) -> UUID | None:
    """The customer of the request's session, or None without a session. Raises InvalidApiKey if it has expired."""
    cookie = request.COOKIES.get(COOKIE)
    if cookie is None:
        return None
    try:
        prefix = signing.loads(cookie, salt=_SALT, max_age=SECONDS)
    except signing.BadSignature:
        raise InvalidApiKey("The session has expired. Sign in again with your API key.") from None
    return keys.customer_of_prefix(prefix=prefix, cache_seconds=settings.CONFIG.api.keys_cache)
