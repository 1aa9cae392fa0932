"""The two addresses of single sign-on: one leads to the provider, the other is where it leads back to."""

from __future__ import annotations

from typing import Any, Final

import structlog
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from mozilla_django_oidc import views

from apps.console.login_rules import BY_PROVIDER
from apps.console.logins import login_record
from apps.console.sign_on.backend import FromProvider
from apps.console.sign_on.provider import ProviderUnavailable

log = structlog.get_logger(__name__)

_UNAVAILABLE: Final = "Single sign-on does not answer. Try again, or log in with a password."


class SignOnView(FromProvider, views.OIDCAuthenticationRequestView):  # type: ignore[misc]  # the library has no types
    """Leads to the provider."""

    def __init__(self, **kwargs: Any) -> None:
        super(views.OIDCAuthenticationRequestView, self).__init__(**kwargs)

    def get(self, request: HttpRequest) -> HttpResponseBase:
        _require_setting()
        try:
            self.OIDC_OP_AUTH_ENDPOINT = self.get_settings("OIDC_OP_AUTHORIZATION_ENDPOINT")
            self.OIDC_RP_CLIENT_ID = self.get_settings("OIDC_RP_CLIENT_ID")
            response: HttpResponseBase = super().get(request)
        except ProviderUnavailable as error:
            log.warning("sign_on_unavailable", error=str(error))
            messages.error(request, _UNAVAILABLE)
            return HttpResponseRedirect(reverse("admin:login"))
        return response


class SignOnCallbackView(FromProvider, views.OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """Where the provider leads back to."""

    @property
    def failure_url(self) -> str:
        return reverse("admin:login")

    def get(self, request: HttpRequest) -> HttpResponseBase:
        _require_setting()
        # The library would log the user out for any link to this address that names an error.
        if request.GET.get("state") not in request.session.get("oidc_states", {}):
            self.request = request
            return self.login_failure()
        response: HttpResponseBase = super().get(request)
        return response

    def login_success(self) -> HttpResponseBase:
        response: HttpResponseBase = super().login_success()
        if settings.CONFIG.admin.oidc_second_factor == "provider":
            self.request.session[BY_PROVIDER] = True
        return response

    def login_failure(self) -> HttpResponseBase:
        reason = getattr(self.request, "sign_on_refused", "")
        login_record(self.request, act="login.failed", why=f"single sign-on: {reason or 'not confirmed'}")
        messages.error(self.request, reason or "Single sign-on did not work. Try again.")
        response: HttpResponseBase = super().login_failure()
        return response


def _require_setting() -> None:
    if not settings.CONFIG.admin.oidc_issuer:
        raise Http404("Single sign-on is not set up.")
