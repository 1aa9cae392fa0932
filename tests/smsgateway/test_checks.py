"""What each process checks before it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib import admin
from django.core.management import call_command, get_commands, load_command_class

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "smsgateway.settings",
    "DEVSERVICES_DIR": "/nonexistent",
    "DATABASE_URL": "postgres://nobody@localhost/unused",
    "CLICKHOUSE_URL": "clickhouse://localhost:1/unused",
    "KAFKA_BROKERS": "localhost:1",
    # It would serve the admin too, if it were the API.
    "ENVIRONMENT": "development",
}
PROCESSES = ("callbacks", "deliver", "ingest", "relay", "settle")
COMMANDS = sorted(name for name, app in get_commands().items() if app.startswith(("apps.", "smsgateway")))

# Starts a command as manage.py does, up to its own work.
START = """
import sys
from unittest import mock

import django
from django.core.management import get_commands, load_command_class

django.setup()
name = sys.argv[1]
command = load_command_class(get_commands()[name], name)
with mock.patch.object(command, "handle", return_value=None):
    command.run_from_argv(["manage.py", name])
print(*sys.modules)
"""


def start(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START, name],
        cwd=ROOT,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_checks_ask_no_database() -> None:
    admin.autodiscover()
    call_command("check")


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_loads_no_urls_to_check_them(name: str) -> None:
    started = start(name)
    assert started.returncode == 0, started.stderr
    loaded = started.stdout.split()
    assert "apps.sms.models" in loaded
    views = ("smsgateway.urls", "apps.console.", "apps.reporting.views", "apps.sms.views", "rest_framework.views")
    harmless = {"apps.console.apps", "apps.console.models"}
    assert [module for module in loaded if module.startswith(views) and module not in harmless] == []


@pytest.mark.parametrize("name", PROCESSES)
def test_unsafe_settings_stop_a_process_that_checks_no_urls(name: str) -> None:
    started = start(name, ENVIRONMENT="production", CALLBACK_ALLOW_PRIVATE="true")
    assert started.returncode == 1
    assert "smsgateway.E004" in started.stderr
    assert started.stdout == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_checks_urls(name: str) -> None:
    command = load_command_class(get_commands()[name], name)
    assert command.requires_system_checks != "__all__"
