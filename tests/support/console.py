"""Forms, messages and people of the admin console."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from django.test import Client

from apps.sms.models import Route

Person = Callable[[str], Client]


def shown_messages(response: Any) -> str:
    """The messages that the next page shows, of a response that redirects there."""
    return " ".join(str(message) for message in response.wsgi_request._messages)


def token_of(response: Any) -> str:
    """The one-time token of a form that was shown."""
    context = response.context
    return str(context["token"] if "token" in context else context["hidden"]["token"])


PASSWORD = "seven-horses-ran"


def route_form(*targets: tuple[str, int, int], existing: Route | None = None, **fields: Any) -> dict[str, Any]:
    """What the browser sends for a route with `(connection, preference, weight)` targets."""
    form: dict[str, Any] = {"rank": 100, "enabled": "on", "prefixes": "", "carrier": "", "customer": "", "sender": ""}
    form |= {"note": "", "targets-TOTAL_FORMS": len(targets), "targets-INITIAL_FORMS": 0} | fields
    kept = list(existing.targets.all()) if existing else []
    form["targets-INITIAL_FORMS"] = len(kept)
    for number, (name, preference, weight) in enumerate(targets):
        row = {"operator": name, "preference": preference, "weight": weight}
        if existing:
            row["route"] = existing.pk
        if number < len(kept):
            row["id"] = kept[number].pk
        form |= {f"targets-{number}-{field}": value for field, value in row.items()}
    return form


def errors_of(response: Any) -> str:
    """All errors that the form shows."""
    assert response.status_code == 200
    errors = [response.context["adminform"].form.errors.as_text()]
    for inline in response.context["inline_admin_formsets"]:
        errors += [
            inline.formset.non_form_errors().as_text(),
            *(form.errors.as_text() for form in inline.formset.forms),
        ]
    return html.unescape("\n".join(errors))
