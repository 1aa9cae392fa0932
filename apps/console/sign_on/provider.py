"""What the provider says about itself: its endpoints and algorithms (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

import requests
from django.conf import settings

_KEPT_SECONDS: Final = 600
_ALGORITHMS: Final = ("RS256", "ES256", "RS512", "ES384", "ES512", "RS384")


class ProviderUnavailable(Exception):
    """The provider of single sign-on does not answer, or not as one"""


class Provider(NamedTuple):
    """The endpoints, and the algorithm with which the provider signs."""

    issuer: str
    authorization: str
    token: str
    userinfo: str
    keys: str
    algorithm: str


_known: dict[str, tuple[float, Provider]] = {}


def provider() -> Provider:
    """The provider at ADMIN_OIDC_ISSUER; asked again after ten minutes. Raises ProviderUnavailable."""
    issuer = settings.CONFIG.admin.oidc_issuer
    asked, found = _known.get(issuer, (0.0, None))
    if found is None or time.monotonic() - asked > _KEPT_SECONDS:
        found = _discover(issuer)
        _known[issuer] = time.monotonic(), found
    return found


def forget() -> None:
    """Ask the provider again at the next login."""
    _known.clear()


def _discover(issuer: str) -> Provider:
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        answer = requests.get(url, timeout=settings.OIDC_TIMEOUT, verify=settings.OIDC_VERIFY_SSL)
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        offered = document.get("id_token_signing_alg_values_supported", ["RS256"])
        algorithm = next((name for name in _ALGORITHMS if name in offered), "")
        found = Provider(
            issuer=document["issuer"],
            authorization=document["authorization_endpoint"],
            token=document["token_endpoint"],
            userinfo=document["userinfo_endpoint"],
            keys=document["jwks_uri"],
            algorithm=algorithm,
        )
    except (requests.RequestException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProviderUnavailable(f"{url}: {type(error).__name__}") from error
    if found.issuer.rstrip("/") != issuer.rstrip("/"):
        raise ProviderUnavailable(f"{url} belongs to another issuer, {found.issuer}")
    if not algorithm:
        raise ProviderUnavailable(f"{url} offers none of the algorithms {', '.join(_ALGORITHMS)}")
    return found
