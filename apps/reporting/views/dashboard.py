"""The dashboard: one page, its static files, and the session of its reader."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Final

import msgspec
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from rest_framework.response import Response

from apps.customers.errors import InvalidApiKey
from apps.reporting.views.session import session_close, session_holder, session_open
from smsgateway import ids, money
from smsgateway.errors import InvalidRequest
from smsgateway.http.views import JsonView, json_body

_FOLDER: Final = Path(__file__).parents[1] / "static" / "reporting"
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
# Everything is served from this origin; no inline scripts or styles.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def dashboard(request: HttpRequest) -> HttpResponse:
    """`GET /`: the page. With API keys on, it shows the session's customer only, or asks for a key."""
    asks_keys = not settings.CONFIG.api.ignores_keys
    customer = None
    if asks_keys:
        try:
            customer = session_holder(request)
        except InvalidApiKey:  # expired: the page asks for a key
            customer = None
    context = {
        "currency": settings.CONFIG.sms.currency,
        "decimals": money.digits(settings.CONFIG.sms.currency),
        "customer": ids.to_text(customer) if customer else "",
        "signed_in": customer is not None,
        "asks_key": asks_keys and customer is None,
    }
    response = HttpResponse(render_to_string("reporting/dashboard.html", context))
    response["Content-Security-Policy"] = _POLICY
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["Referrer-Policy"] = "no-referrer"
    return response


def asset(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /static/…`: a static file of the page."""
    found = _files().get(name)
    if found is None:
        raise Http404
    body, kind, tag = found
    response = HttpResponse(status=304) if request.META.get("HTTP_IF_NONE_MATCH") == tag else HttpResponse(body)
    response["Content-Type"] = f"{kind}; charset=utf-8"
    response["ETag"] = tag
    response["Cache-Control"] = "no-cache"  # cached, but revalidated by its ETag
    response["X-Content-Type-Options"] = "nosniff"
    return response


@functools.cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """By name: the body, its media type and its ETag."""
    return {
        path.name: (path.read_bytes(), _TYPES[path.suffix], f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:20]}"')
        for path in _FOLDER.iterdir()
    }


class _SessionRequest(msgspec.Struct):
    key: str


class SessionView(JsonView):
    """`POST /session` opens a session with a key, `DELETE /session` ends it.

    Only JSON is accepted. Another site's page cannot send JSON without a CORS preflight, which fails; so it cannot sign
    people in to someone else's account.
    """

    schema = None  # used by the page only, not part of the API

    def post(self, request: HttpRequest) -> Response:
        if request.META.get("CONTENT_TYPE", "").partition(";")[0] != "application/json":
            raise InvalidApiKey("Send the key as JSON.")
        try:
            key = msgspec.json.decode(json_body(request), type=_SessionRequest).key
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            wrong = {"field": "key", "code": "invalid", "reason": "Send a JSON object with the key as a string."}
            raise InvalidRequest("Fix the listed fields and try again.", errors=[wrong]) from error
        response = Response({})
        response.data = {"customer_id": ids.to_text(session_open(response, key=key))}
        return response

    def delete(self, _request: HttpRequest) -> Response:
        response = Response({})
        session_close(response)
        return response
