"""Users of each role, with clients of their own."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.test import Client

from apps.console.roles import roles_make
from tests.support.console import Person


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
