"""Checks what the provider's login brings: mozilla-django-oidc's backend, with the checks that it leaves out."""

from __future__ import annotations

from typing import Any, Final

import jwt
import requests
import structlog
from django.contrib.auth.models import User
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from apps.console.sign_on.provider import Provider, ProviderUnavailable, provider
from apps.console.sign_on.users import SignOnRefused, user_sign_on

log = structlog.get_logger(__name__)

_OF_PROVIDER: Final = {
    "OIDC_OP_AUTHORIZATION_ENDPOINT": "authorization",
    "OIDC_OP_TOKEN_ENDPOINT": "token",
    "OIDC_OP_USER_ENDPOINT": "userinfo",
    "OIDC_OP_JWKS_ENDPOINT": "keys",
    "OIDC_RP_SIGN_ALGO": "algorithm",
}


class FromProvider:
    """Settings of mozilla-django-oidc that the provider itself announces. Raises ProviderUnavailable."""

    @staticmethod
    def get_settings(attr: str, *args: Any) -> Any:
        if attr in _OF_PROVIDER:
            return getattr(provider(), _OF_PROVIDER[attr])
        return OIDCAuthenticationBackend.get_settings(attr, *args)


class SignOnBackend(FromProvider, OIDCAuthenticationBackend):  # type: ignore[misc]  # the library has no types
    """Log in whom the provider has identified."""

    def __init__(self) -> None:
        """Asks the provider nothing: Django makes one of each backend for every permission check."""
        self.UserModel = User

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> User | None:
        if request is None or "nonce" not in credentials:  # a login by password
            return None
        try:
            super().__init__()
            user: User | None = super().authenticate(request, **credentials)
        except ProviderUnavailable as error:
            log.warning("sign_on_unavailable", error=str(error))
        except (requests.RequestException, jwt.PyJWTError, SuspiciousOperation, ValueError, KeyError) as error:
            # The library's texts may quote the provider's answer, with its tokens.
            log.warning("sign_on_failed", error=type(error).__name__)
        except SignOnRefused as refused:
            request.sign_on_refused = str(refused)  # type: ignore[attr-defined]
            log.warning("sign_on_refused", reason=str(refused))
        else:
            if user is not None:
                user.login_way = "single sign-on"  # type: ignore[attr-defined]
            return user
        return None

    def verify_token(self, token: str, **kwargs: Any) -> dict[str, Any]:
        """The claims of a token. The library checks its signature and nonce; we also its issuer, audience and times."""
        claims: dict[str, Any] = super().verify_token(token, **kwargs)
        known: Provider = provider()
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != known.issuer or self.OIDC_RP_CLIENT_ID not in audiences or "exp" not in claims:
            raise SuspiciousOperation("The token is not for this client.")
        if len(audiences) > 1 and claims.get("azp") != self.OIDC_RP_CLIENT_ID:
            raise SuspiciousOperation("The token is for another client too.")
        return claims

    def get_or_create_user(self, access_token: str, id_token: str, payload: dict[str, Any]) -> User:
        info = self.get_userinfo(access_token, id_token, payload)
        if info.get("sub") != payload.get("sub"):  # OpenID Connect Core 1.0, section 5.3.2
            raise SuspiciousOperation("The user information is somebody else's.")
        return user_sign_on({**payload, **info}, issuer=provider().issuer)
