"""Users of each role, with clients of their own."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_in
from django.test import Client

from apps.console.logins import logged_in
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
        user_logged_in.disconnect(logged_in)  # this is no login of the test's story
        client.force_login(user)
        user_logged_in.connect(logged_in)
        return client

    return log_in
