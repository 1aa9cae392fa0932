"""The middleware that only the admin's pages need, kept away from all other requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from axes.middleware import AxesMiddleware
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django_otp.middleware import OTPMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from apps.console.content_policy import content_policy
from apps.console.login_rules import login_rules

GetResponse = Callable[[HttpRequest], HttpResponseBase]

PATH: Final = "/admin/"
# No CSRF middleware: each of the admin's views checks the token by its decorator.
_MIDDLEWARE: Final = (
    SecurityMiddleware,
    content_policy,
    WhiteNoiseMiddleware,
    SessionMiddleware,
    AuthenticationMiddleware,
    OTPMiddleware,
    MessageMiddleware,
    XFrameOptionsMiddleware,
    login_rules,
    AxesMiddleware,
)


def admin_only(get_response: GetResponse) -> GetResponse:
    """Sessions, users, messages and static files for paths under /admin/. Other requests skip this middleware."""
    admin = get_response
    for middleware in reversed(_MIDDLEWARE):
        admin = middleware(admin)

    def choose(request: HttpRequest) -> HttpResponseBase:
        return (admin if request.path_info.startswith(PATH) else get_response)(request)

    def process_exception(request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Errors under /admin/ get Django's HTML pages; elsewhere every error is a problem document."""
        refused = isinstance(error, Http404 | PermissionDenied | SuspiciousOperation)
        return response_for_exception(request, error) if refused and request.path_info.startswith(PATH) else None

    choose.process_exception = process_exception  # type: ignore[attr-defined]
    return choose
