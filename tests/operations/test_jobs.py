"""The jobs of the clock as their schedulers run them, while another run is at work: that is no failure."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from django.core.management import CommandError, call_command

from apps.reconciliation import service
from smsgateway.partitions import table as engine
from tests.support.compose import interpolated
from tests.support.database import database_url
from tests.support.manifests import of_kind, overlay, pod

pytestmark = pytest.mark.django_db
BUSY = 75


def of_compose() -> dict[str, list[str]]:
    commands = (service.get("command", []) for service in yaml.safe_load(interpolated())["services"].values())
    return {command[2]: command[2:] for command in commands if command[:1] == ["daily"]}


def of_the_cluster() -> dict[str, list[str]]:
    jobs = of_kind(overlay("production"), "CronJob")
    return {name: pod(job)["containers"][0]["args"] for name, job in jobs.items()}


@pytest.fixture
def another_runs(transactional_db: None) -> Iterator[None]:
    """Another session of PostgreSQL holds the lock of each job."""
    with psycopg.connect(database_url(), autocommit=True) as holder:
        for lock in (engine.LOCK, service._LOCK):
            holder.execute("SELECT pg_advisory_lock(%s)", [lock])
        yield


@pytest.fixture
def files(settings: Any, tmp_path: Path) -> Path:
    general = dataclasses.replace(settings.CONFIG.general, metrics_textfile_dir=str(tmp_path))
    settings.CONFIG = dataclasses.replace(settings.CONFIG, general=general)
    return tmp_path


@pytest.mark.parametrize("job", ["partitions", "reconcile", "purge"])
@pytest.mark.parametrize("scheduler", [of_compose, of_the_cluster])
def test_a_scheduled_run_that_finds_another_at_work_is_no_failure(
    scheduler: Any, job: str, another_runs: None, files: Path
) -> None:
    out = StringIO()
    call_command(*scheduler()[job], stdout=out)  # would raise, or exit, with what Kubernetes takes for a failure
    if job != "purge":  # which has no lock: any number may run
        assert "Nothing was done." in out.getvalue()
        assert list(files.iterdir()) == [], "the metrics of the run at work stay as they are"


@pytest.mark.parametrize("command", ["partitions apply", "reconcile"])
def test_a_person_who_comes_second_is_told(command: str, another_runs: None, files: Path) -> None:
    with pytest.raises(CommandError) as told:
        call_command(*shlex.split(command), stdout=StringIO())
    assert told.value.returncode == BUSY
    assert list(files.iterdir()) == []
