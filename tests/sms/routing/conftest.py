"""Somebody who may use the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from tests.support.console import PASSWORD


@pytest.fixture
def staff(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A browser of somebody who has logged in, whom `createsuperuser` made."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes a second
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", "--noinput", username="nika", email="nika@example.com", verbosity=0)
    client = Client()
    answered = client.post("/admin/login/", {"username": "nika", "password": PASSWORD, "next": "/admin/"})
    assert (answered.status_code, answered["Location"]) == (302, "/admin/")
    return client
