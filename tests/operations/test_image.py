"""The commands of docker/Dockerfile, followed in a folder; the processes run from what they made, with nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from apps.devservices.ports import remembered_ports
from scripts.follow_dockerfile import DOCKERFILE, Image, follow, instructions, is_sent
from smsgateway import clickhouse
from tests.support.compose import interpolated, made
from tests.support.database import database_url
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

HTTP = {"api": "/readyz", "reporting": "/readyz", "admin": "/readyz"}
WORKERS = ("relay", "deliver", "settle", "callbacks", "ingest", "watch")


def test_the_build_gets_only_the_files_that_the_image_needs() -> None:
    sent = {path for path in _tracked() if is_sent(path)}
    assert {"manage.py", "requirements.txt", "docker/entrypoint", "apps/sms/outbox/relay.py"} <= sent
    kept_out = ("tests/", "docs/", "apps/devservices/", "k8s/", ".env", "requirements-dev.txt", "docker/example.env")
    assert [path for path in sent if path.startswith(kept_out)] == []


def test_the_image_runs_as_an_unprivileged_user_and_has_a_health_check() -> None:
    steps = list(instructions(DOCKERFILE.read_text(encoding="utf-8")))
    assert ("USER", "10001:10001") in steps
    assert any(name == "HEALTHCHECK" for name, _ in steps)
    assert [value for name, value in steps if name == "FROM"][-1].endswith("AS run")


def _tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if not os.environ.get("REQUIRE_IMAGE_STEPS"):
        pytest.skip("makes a virtual environment of its own, from the package index: set REQUIRE_IMAGE_STEPS=1")
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    folder.chmod(0o755)
    yield follow(folder)
    shutil.rmtree(folder)


@pytest.mark.django_db(transaction=True)
def test_every_process_runs_from_what_the_dockerfile_makes(image: Image, tmp_path: Path) -> None:
    run = uuid.uuid4().hex[:10]
    clickhouse.default().execute(f"CREATE DATABASE image_{run}")
    ports = dict(zip((*HTTP, *WORKERS), remembered_ports(tmp_path / "ports", count=9), strict=True))
    environment = image.environ | {
        "ENVIRONMENT": "staging",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_ALLOWED_HOSTS": "127.0.0.1",
        "HTTP_WORKERS": "1",
        "DATABASE_URL": database_url(),
        "CLICKHOUSE_URL": f"{settings.CONFIG.clickhouse.url.rpartition('/')[0]}/image_{run}",
        "KAFKA_BROKERS": ",".join(settings.CONFIG.kafka.brokers),
        "KAFKA_CONSUMER_GROUP_PREFIX": run,
        **{
            f"KAFKA_TOPIC_{name}": f"{run}.{name}"
            for name in ("ACCEPTED", "DELIVERY", "STATUS", "MONEY", "DEAD_LETTER")
        },
        "OPERATOR_MCI_URL": "http://127.0.0.1:9",
        "OPERATOR_IRANCELL_URL": "http://127.0.0.1:9",
        "API_KEYS": "required",
        "PARTITION_ARCHIVE": str(tmp_path / "archive"),
        **{name: value for name, value in made("try").items() if name.endswith(("SECRET_KEY", "TOKEN"))},
    }
    entrypoint, health = image.command("ENTRYPOINT"), image.command("HEALTHCHECK")
    # `prepare`, but for the topics: the embedded broker makes them by itself, and only by itself.
    for step in (["migrate", "--no-input"], ["partitions", "create"], ["clickhouse_migrate"]):
        subprocess.run([*entrypoint, *step], env=environment, check=True, stdout=subprocess.DEVNULL)
    running = {}
    try:
        for name, port in ports.items():
            # Other gateways may run on this machine, so each port is one of ours.
            own = environment | ({"HTTP_PORT": str(port), "METRICS_PORT": "0"} if name in HTTP else {})
            own |= {} if name in HTTP else {"HTTP_PORT": str(port), "METRICS_PORT": str(port)}
            with (tmp_path / f"{name}.log").open("wb") as log:
                running[name] = subprocess.Popen([*entrypoint, name], env=own, stdout=log, stderr=log)

            def is_well(own: dict[str, str] = own) -> bool:
                return subprocess.run(health, env=own, capture_output=True).returncode == 0

            wait_for(is_well, f"{name} to be well: {(tmp_path / f'{name}.log').read_text()[-500:]}")
            path = HTTP.get(name, "/metrics")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.status == 200
        for name, process in running.items():
            process.terminate()
            assert process.wait() == 0, f"{name}: {(tmp_path / f'{name}.log').read_text()[-500:]}"
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        clickhouse.default().execute(f"DROP DATABASE image_{run}")
    assert not list(image.root.rglob("*.log"))


def test_prepare_runs_each_step_that_the_compose_file_and_the_job_rely_on(tmp_path: Path) -> None:
    """With a python that only records its arguments."""
    calls = tmp_path / "calls"
    (tmp_path / "python").write_text(f'#!/bin/sh\necho "$@" >>{calls}\n')
    (tmp_path / "python").chmod(0o755)
    subprocess.run(
        [ROOT / "docker" / "entrypoint", "prepare"], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True
    )
    assert calls.read_text().splitlines() == [
        "manage.py migrate --no-input",
        "manage.py partitions create",  # never apply: an archive that fails or takes hours must not stop a deployment
        "manage.py clickhouse_migrate",
        "manage.py create_kafka_topics",
    ]
    assert "command: [prepare]" in interpolated()


def test_a_daily_job_waits_runs_and_stops_on_a_signal(tmp_path: Path) -> None:
    """With a sleep that only records its time, and a job that ends its caller the second time."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "sleep").write_text(f'#!/bin/sh\necho "sleep $1" >>{tmp_path}/calls\n')
    (tmp_path / "docker" / "entrypoint").write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n'
        f'[ "$(grep -c apply {tmp_path}/calls)" -lt 2 ] || kill -TERM $PPID\nexit 1\n'
    )
    for path in ("sleep", "docker/entrypoint"):
        (tmp_path / path).chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [ROOT / "docker" / "daily", "02:00", "partitions", "apply"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert done.returncode == 0
    assert calls[1::2] == ["partitions apply", "partitions apply"]
    assert all(0 < int(line.removeprefix("sleep ")) <= 86_400 for line in calls[::2])
    assert '"event": "daily_failed"' in done.stderr, "a failed job is logged, and runs again the next day"
