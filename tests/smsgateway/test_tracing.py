"""Traces are optional: off they cost and load nothing; on, every process knows a message's trace from its id."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from smsgateway import ids, tracing
from smsgateway.config.operations import Tracing

_EVERYTHING = """
import pkgutil, sys
import django
django.setup()
import apps, smsgateway.http.middleware, smsgateway.process, smsgateway.wsgi
from django.core.management import get_commands, load_command_class
for name, app in get_commands().items():
    if app.startswith("apps."):
        load_command_class(app, name)
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_without_an_endpoint_opentelemetry_is_not_loaded() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "smsgateway.settings", "TRACING_ENDPOINT": ""}
    done = subprocess.run(
        [sys.executable, "-c", _EVERYTHING], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    tracing.start("test", Tracing(endpoint="", ratio=1.0))
    assert not tracing.is_on


def test_without_the_sdk_the_setting_is_refused_by_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(tracing.TracingUnavailable, match=r"requirements-tracing\.txt"):
        tracing.start("test", Tracing(endpoint="http://127.0.0.1:9/v1/traces", ratio=1.0))
    assert not tracing.is_on


def test_all_processes_trace_the_same_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_ratio", 0.25)
    made = [ids.new_id() for _ in range(4000)]
    traced = [id_ for id_ in made if tracing._trace(id_) is not None]
    assert 800 < len(traced) < 1200
    assert [id_ for id_ in made if tracing._trace(ids.to_text(id_)) is not None] == traced
    assert tracing._trace("no id") is None
    monkeypatch.setattr(tracing, "_ratio", 0.0)
    assert not any(tracing._trace(id_) for id_ in made)
