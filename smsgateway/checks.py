"""Settings are checked before anything starts: system checks with ids and hints, one line each on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

EX_CONFIG = 78  # sysexits.h
SETTINGS: Final = "settings"

# What a command that answers no HTTP checks at its start. Django's default checks the URLs too, which imports every
# view and the admin. `manage.py check` and `manage.py migrate` check all of it.
WITHOUT_URLS: Final = (SETTINGS, Tags.models)

_warned = False


@register(SETTINGS)
def settings_are_valid(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """Every problem found while the settings were read."""
    return [Error(found.message, hint=found.hint, id=found.id) for found in settings.CONFIG_PROBLEMS]


@register()
def settings_are_known(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:
    """Every variable that looks like a setting and is none, unless this process has already warned about it."""
    if _warned:
        return []
    return [Warning(found.message, hint=found.hint, id=found.id) for found in settings.CONFIG_WARNINGS]


def stop_on_problems() -> None:
    """Warn about each unknown setting in one line, and end the process with one line for each wrong, missing or unsafe
    one."""
    global _warned
    _warned = True
    for found in (*settings.CONFIG_WARNINGS, *settings.CONFIG_PROBLEMS):
        sys.stderr.write(f"{found}\n")
    if settings.CONFIG_PROBLEMS:
        sys.exit(EX_CONFIG)
