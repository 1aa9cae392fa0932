"""Settings are checked before anything starts: system checks with ids and hints, one line each on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

EX_CONFIG = 78  # sysexits.h
SETTINGS: Final = "settings"

# What a command that answers no HTTP checks at its start. Django's default checks the URLs too, which imports every
# view and the admin. `manage.py check` and `manage.py migrate` check all of it.
WITHOUT_URLS: Final = (SETTINGS, Tags.models)


@register(SETTINGS)
def settings_are_valid(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """Every problem found while the settings were read."""
    return [Error(found.message, hint=found.hint, id=found.id) for found in settings.CONFIG_PROBLEMS]


def stop_on_problems() -> None:
    """End the process with one line for each wrong or missing setting."""
    for problem in settings.CONFIG_PROBLEMS:
        sys.stderr.write(f"{problem}\n")
    if settings.CONFIG_PROBLEMS:
        sys.exit(EX_CONFIG)
