"""What every request under /admin/ passes after its user is known: the end of old logins, and the second factor.

No page checks this itself, so that no page can forget it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from apps.console import second_factor

GetResponse = Callable[[HttpRequest], HttpResponseBase]

SINCE: Final = "console_since"
"""When the login began, in the session; seconds since 1970."""
SEEN: Final = "console_seen"
"""When its last request was noted."""
BY_PROVIDER: Final = "console_second_factor_by_provider"
"""Whether the provider of single sign-on answers for the second factor."""
# The session is written once in this time, not with each request.
_NOTED_EVERY: Final = 60


def login_rules(get_response: GetResponse) -> GetResponse:
    """End logins that are too old; let nobody pass who lacks a required second factor."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        _use_public_scheme(request)
        user: Any = request.user
        if user.is_authenticated:
            _end_if_old(request)
        if request.user.is_authenticated and (page := _page_before(request)):
            there = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
            return HttpResponseRedirect(f"{page}?{there}" if there else page)
        return get_response(request)

    return middleware


def _use_public_scheme(request: HttpRequest) -> None:
    """Behind a proxy that terminates TLS, URLs that we make begin with https all the same."""
    if f"https://{request.META.get('HTTP_HOST', '')}" in settings.CONFIG.admin.origins:
        request.META["wsgi.url_scheme"] = "https"


def _end_if_old(request: HttpRequest) -> None:
    """Log the user out if the login is too old or was idle for too long; otherwise note the request."""
    admin, now = settings.CONFIG.admin, time.time()
    since, seen = (float(request.session.get(name, now)) for name in (SINCE, SEEN))
    if now - since > admin.session_longest or now - seen > admin.session_idle:
        request.logout_reason = "the login ended by age"  # type: ignore[attr-defined]
        logout(request)
    elif SINCE not in request.session or now - seen >= min(_NOTED_EVERY, admin.session_idle / 4):
        request.session[SINCE], request.session[SEEN] = since, now


def _page_before(request: HttpRequest) -> str | None:
    """The page that comes before all others for this user: it asks for a second factor, or sets one up."""
    user: Any = request.user
    if user.is_verified() or request.session.get(BY_PROVIDER):
        return None
    ask, make = reverse("console:second-factor"), reverse("console:second-factor-new")
    free = {reverse("admin:login"), reverse("admin:logout")}
    if request.path in free:
        return None
    state = second_factor.state_of(user)
    if state.has_device:
        return None if request.path == ask else ask
    return make if state.is_required and request.path != make else None
