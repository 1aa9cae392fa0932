"""The metrics of an HTTP service: on a port of their own, and not on its public port."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apps.devservices.ports import remembered_ports
from tests.support.settings import COMPLETE, DEPLOYED, run
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

GUNICORN = ("-m", "gunicorn", "-c", "python:smsgateway.gunicorn", "smsgateway.wsgi")


@contextmanager
def service(folder: Path, name: str, **environment: str) -> Iterator[tuple[int, int]]:
    """The service as a process of its own: its port, and its metrics port."""
    http, metrics = remembered_ports(folder / "ports", count=2)
    environ = {"PATH": os.environ["PATH"], "DEVSERVICES_DIR": "/nonexistent", "SERVICE": name, "HTTP_WORKERS": "2"}
    environ |= {"HTTP_PORT": str(http), "METRICS_PORT": str(metrics)} | environment
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *GUNICORN], cwd=ROOT, env=environ, stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        return status(http, "/healthz") == 200

    try:
        wait_for(answers, f"the {name} service")
        yield http, metrics
    finally:
        process.terminate()
        assert process.wait() == 0


def answer(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def status(port: int, path: str) -> int:
    return answer(port, path)[0]


@pytest.mark.parametrize("name", ["api", "reporting", "admin"])
def test_the_public_port_serves_no_metrics(tmp_path: Path, name: str) -> None:
    deployed = DEPLOYED | {"ENVIRONMENT": "production", "HTTP_ALLOWED_HOSTS": "127.0.0.1"}
    with service(tmp_path, name, **deployed) as (http, metrics):
        for _ in range(8):  # more than one process counts
            assert status(http, "/metrics") == 404
        assert status(metrics, "/healthz") == 200

        def counted() -> bool:
            text = answer(metrics, "/metrics")[1]
            rows = [line for line in text.splitlines() if line.startswith("http_requests_total{") and "404" in line]
            return sum(float(row.rpartition(" ")[2]) for row in rows) >= 8

        wait_for(counted, "all processes' requests in one answer")
        assert status(metrics, "/v1/sms") == 200, "this port knows metrics only"


def test_a_probe_by_address_works_where_other_requests_are_refused(tmp_path: Path) -> None:
    with service(tmp_path, "api", **DEPLOYED, ENVIRONMENT="production") as (http, _):
        assert status(http, "/healthz") == 200
        assert status(http, "/docs") == 400


def test_a_taken_metrics_port_is_reported_in_one_line(tmp_path: Path) -> None:
    with service(tmp_path, "api", **COMPLETE, ENVIRONMENT="development") as (_, metrics):
        (free,) = remembered_ports(tmp_path / "more", count=1)
        ended = run(*GUNICORN, **COMPLETE, HTTP_PORT=str(free), METRICS_PORT=str(metrics))
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1] == (
        f"api: cannot listen on 127.0.0.1:{metrics} for metrics (Address already in use). "
        "Stop what uses the port or set METRICS_PORT."
    )
