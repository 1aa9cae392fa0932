"""Wraps every request: its id, its metrics, its access line, and problem documents for uncaught errors."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter, Histogram

from smsgateway import errors, ids, logs, tracing
from smsgateway.http import problems
from smsgateway.http.hosts import check_host
from smsgateway.metrics import HTTP_DURATION, HTTP_REQUESTS

log = structlog.get_logger("access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")
# Clients may send any word as method; each would become a new series in the metrics.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_TRACED = 100  # at most this many messages of a batch get a trace
_QUIET = ("/healthz", "/readyz", "/metrics")


def request_context(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Accept or create `X-Request-ID`, return it in the response, and bind it to every log line of the request."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return observe(request, get_response)

    def process_exception(request: HttpRequest, error: Exception) -> HttpResponse:
        return problems.plain_response(request, error)

    middleware.process_exception = process_exception  # type: ignore[attr-defined]
    return middleware


def observe(
    request: HttpRequest, get_response: Callable[[HttpRequest], HttpResponse], *, route: str = ""
) -> HttpResponse:
    """Get the response, with the request's id and metrics and a line in the access log.

    `route`: the pattern of the path, if it is known already.
    """
    started = time.perf_counter()
    given = request.META.get("HTTP_X_REQUEST_ID", "")
    request_id = given if given and _REQUEST_ID.fullmatch(given) else ids.to_text(ids.new_id())
    request.request_id = request_id  # type: ignore[attr-defined]
    structlog.contextvars.bind_contextvars(request_id=request_id)
    try:
        response = _checked(request, get_response)
        response["X-Request-ID"] = request_id
        if not response.streaming and not response.has_header("Content-Length"):
            response["Content-Length"] = str(len(response.content))
        elapsed = time.perf_counter() - started
        if not route:
            route = request.resolver_match.route if request.resolver_match else "unknown"
        method = request.method if request.method in _METHODS else "other"
        requests, duration = _metrics(method, route, response.status_code)
        requests.inc()
        duration.observe(elapsed)
        if tracing.is_on and (accepted := getattr(request, "accepted_ids", None)):
            attributes = {
                "request_id": request_id,
                "http.route": route,
                "http.response.status_code": response.status_code,
            }
            since = time.time_ns() - int(elapsed * 1e9)
            tracing.first_span(f"{method} {route}", accepted[:_TRACED], since=since, attributes=attributes)
        if logs.at_info() and request.path not in _QUIET:
            log.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                milliseconds=round(elapsed * 1000, 2),
            )
        return response
    finally:
        structlog.contextvars.unbind_contextvars("request_id")


@functools.lru_cache(maxsize=1000)
def _metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return HTTP_REQUESTS.labels(method, route, status), HTTP_DURATION.labels(route)


def _checked(request: HttpRequest, get_response: Callable[[HttpRequest], HttpResponse]) -> HttpResponse:
    """The response, or a problem document if the request is addressed to another host."""
    try:
        check_host(request)
    except errors.UnknownHost as error:
        return problems.plain_response(request, error)
    return get_response(request)
