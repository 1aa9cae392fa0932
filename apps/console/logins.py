"""Logins, failed logins and log-outs: recorded in the audit log, and refused after too many failures."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.console.audit import act_record
from smsgateway.http.views import client_address

NOBODY: Final = 0
"""The user id of acts by people who are not logged in."""
TOO_MANY: Final = 429


def address_text(request: HttpRequest) -> str | None:
    """The client's IP address as text; None if it has none."""
    found = client_address(request, trusted_proxies=settings.CONFIG.admin.trusted_proxies)
    return None if found is None else str(found)


def login_record(request: HttpRequest, *, act: str, user: Any = None, name: str = "", why: str = "") -> None:
    """Add a login, a failure or a log-out to the audit log. `name`: the name that was typed, if it is nobody's."""
    with transaction.atomic():
        act_record(
            act=act,
            user_id=user.pk if user else NOBODY,
            user_name=(user.get_username() if user else name)[:150],
            subject=f"from {address_text(request) or 'an unknown address'}",
            why=why,
        )


def is_sign_on(_request: HttpRequest, credentials: dict[str, Any] | None) -> bool:
    """Whether a login is by single sign-on, where nothing can be guessed: failures there lock nobody out."""
    return credentials is not None and not credentials.get("username")


def locked_out(request: HttpRequest, _response: HttpResponse | None, _credentials: Any) -> HttpResponse:
    """The page after too many failures."""
    seconds = settings.CONFIG.admin.login_lock
    response = render(request, "console/locked_out.html", {"minutes": max(1, round(seconds / 60))}, status=TOO_MANY)
    response["Retry-After"] = str(seconds)
    return response


@receiver(user_logged_in)
def logged_in(sender: object, request: HttpRequest, user: Any, **_more: object) -> None:
    login_record(request, act="login", user=user, why=getattr(user, "login_way", "password"))


@receiver(user_logged_out)
def _logged_out(sender: object, request: HttpRequest, user: Any, **_more: object) -> None:
    if user is not None:
        login_record(request, act="logout", user=user, why=getattr(request, "logout_reason", ""))


@receiver(user_login_failed)
def _failed(sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **_more: object) -> None:
    if request is None or "username" not in credentials:
        return
    is_locked = getattr(request, "axes_locked_out", False)
    if is_locked and getattr(request, "axes_failures_since_start", None) is None:
        return  # refused without a try: nothing is recorded, otherwise the audit log could be filled
    why = "wrong name or password" + ("; locked" if is_locked else "")
    login_record(request, act="login.failed", name=str(credentials["username"] or ""), why=why)
