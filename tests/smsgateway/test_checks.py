"""The system checks run before every command, so before the `migrate` that makes the database too."""

from __future__ import annotations

from django.contrib import admin
from django.core.management import call_command


def test_the_checks_ask_no_database() -> None:
    admin.autodiscover()
    call_command("check")
