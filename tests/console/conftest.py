"""Users of each role, with clients of their own."""

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
    """Log in a user with this role; the user's name is the role in lower case."""
    roles_make(apps)  # tests that commit end with a flush, which deletes the migration's groups

    def log_in(role: str) -> Client:
        user, _ = User.objects.get_or_create(username=role.lower(), defaults={"is_staff": True})
        user.groups.set([Group.objects.get(name=role)])
        client = Client()
        client.force_login(user)
        return client

    return log_in


def shown_messages(response: Any) -> str:
    """The messages that the next page shows, of a response that redirects there."""
    return " ".join(str(message) for message in response.wsgi_request._messages)


def token_of(response: Any) -> str:
    """The one-time token of a form that was shown."""
    context = response.context
    return str(context["token"] if "token" in context else context["hidden"]["token"])
