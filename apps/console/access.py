"""Who may open a page of the console, checked on the server for every request to it."""

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

# What takes longer is too much to look through; the page says so.
_LONGEST_MILLISECONDS = 5000
# Planned for whom it asks about: a plan that serves the usual customer reads millions of rows of the largest.
_BOUNDS = "SELECT set_config('statement_timeout', %s, true), set_config('plan_cache_mode', 'force_custom_plan', true)"


def console_page(*permissions: str) -> Callable[[View], Any]:
    """A page for people of the staff who have all these permissions; others get 403, or the login."""

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


def reads(view: View) -> View:
    """A page that only reads: it may not take long, and sees one state of the database."""

    @functools.wraps(view)
    def bounded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(_BOUNDS, [str(_LONGEST_MILLISECONDS)])
                response = view(request, *args, **kwargs)
                if isinstance(response, TemplateResponse):
                    response.render()
                return response
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            return page(request, "console/too_much.html", title="Too much to look through", status=503)

    return bounded


def page(request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any) -> TemplateResponse:
    """A page in the frame of the admin."""
    framed = {**admin.site.each_context(request), "title": title, **context}
    return TemplateResponse(request, template, framed, status=status)
