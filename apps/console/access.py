"""Permissions of the console's pages, checked on the server for every request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from psycopg.errors import QueryCanceled

View = Callable[..., HttpResponse]

# A page that takes longer is stopped and says so.
_TIMEOUT_MILLISECONDS = 5000
# Plans are made for the customer in question: the plan for a usual customer reads millions of rows of the largest.
_BOUNDS = "SELECT set_config('statement_timeout', %s, true), set_config('plan_cache_mode', 'force_custom_plan', true)"


def console_page(*permissions: str) -> Callable[[View], Any]:
    """A page for staff with all these permissions. Others get 403, or the login page."""

    def decorate(view: View) -> Any:
        @functools.wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perms(permissions):
                raise PermissionDenied
            response = view(request, *args, **kwargs)
            response["Cache-Control"] = "no-store"
            return response

        return admin.site.admin_view(checked)

    return decorate


def read_only(view: View) -> View:
    """A page that only reads, in one transaction and with a time limit."""

    @functools.wraps(view)
    def bounded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(_BOUNDS, [str(_TIMEOUT_MILLISECONDS)])
                response = view(request, *args, **kwargs)
                if isinstance(response, TemplateResponse):
                    response.render()
                return response
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            return page(request, "console/too_much.html", title="This page took too long", status=503)

    return bounded


def page(request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any) -> TemplateResponse:
    """A page with the admin's header and menu."""
    framed = {**admin.site.each_context(request), "title": title, **context}
    return TemplateResponse(request, template, framed, status=status)
