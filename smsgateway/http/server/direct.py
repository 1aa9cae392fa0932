"""Calls a DRF view on the event loop's thread, without Django's handler and URL resolving.

Views say which of their methods may run there by `on_loop`: those that end in one short transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import SimpleTemplateResponse
from django.urls import Resolver404, resolve
from django.utils.functional import cached_property

from smsgateway.http import problems
from smsgateway.http.middleware import observe
from smsgateway.http.server.incoming import Incoming

# Larger bodies, and those that must be decompressed, would hold the loop up.
_LARGEST_BODY: Final = 16_384
_MOST_PATHS: Final = 1000


class Route(NamedTuple):
    """A view, its arguments from the path, and the path's pattern."""

    view: Callable[..., HttpResponse]
    arguments: dict[str, Any]
    pattern: str
    methods: frozenset[str]


class DirectRequest(HttpRequest):
    """Django's request, made from what was read. Its parameters are parsed when a view asks for them."""

    def __init__(self, incoming: Incoming) -> None:
        self.META = incoming.meta
        self.method = incoming.method
        self.path = self.path_info = incoming.path
        self._body = incoming.body
        self.resolver_match = None

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]  # noqa: N802  # Django's name
        return QueryDict(self.META.get("QUERY_STRING", ""), encoding="utf-8")


def route_of(incoming: Incoming) -> Route | None:
    """The route of a request that may run on the loop; None for any other."""
    found = _route(incoming.path)
    if found is None or incoming.method not in found.methods:
        return None
    if len(incoming.body) > _LARGEST_BODY or "HTTP_CONTENT_ENCODING" in incoming.meta:
        return None
    return found


def answer(incoming: Incoming, route: Route) -> HttpResponse:
    """The view's response, with all that middleware adds."""
    request = DirectRequest(incoming)
    return observe(request, functools.partial(_call, route), route=route.pattern)


def _call(route: Route, request: HttpRequest) -> HttpResponse:
    try:
        response = route.view(request, **route.arguments)
        if isinstance(response, SimpleTemplateResponse):  # DRF's responses to errors
            response.render()
    except Exception as error:
        return problems.plain_response(request, error)
    return response


@functools.lru_cache(maxsize=_MOST_PATHS)
def _route(path: str) -> Route | None:
    try:
        found = resolve(path)
    except (Resolver404, ValueError):
        return None
    methods = getattr(getattr(found.func, "view_class", None), "on_loop", None)
    return Route(found.func, found.kwargs, found.route, methods) if methods else None
