"""People of each role, with browsers of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.test import Client

from apps.console.roles import roles_make

Person = Callable[[str], Client]


@pytest.fixture
def person(db: None) -> Person:
    """Log in somebody who has the role; the name is the role's in lower case."""
    roles_make(apps)  # tests that commit end with a flush, which takes the migration's groups away

    def log_in(role: str) -> Client:
        user, _ = User.objects.get_or_create(username=role.lower(), defaults={"is_staff": True})
        user.groups.set([Group.objects.get(name=role)])
        client = Client()
        client.force_login(user)
        return client

    return log_in


def told(response: Any) -> str:
    """What the next page says to the person, of a response that leads there."""
    return " ".join(str(message) for message in response.wsgi_request._messages)


def token_of(response: Any) -> str:
    """The one-time token of a form that was shown."""
    context = response.context
    return str(context["token"] if "token" in context else context["hidden"]["token"])
