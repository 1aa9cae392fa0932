"""The benchmark's other versions: their files, their virtual environment, their own commands."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from apps.devservices.processes import ServiceError
from scripts import bench_versions
from scripts.bench_versions import Version
from tests.support.tools import ROOT


@pytest.fixture
def version(tmp_path: Path) -> Version:
    (tmp_path / "Procfile").write_text("api: exec env SERVICE=api HTTP_PORT=${UP_API:-8080} serve\nrelay: exec relay\n")
    return Version("abc", "abc", tmp_path, Path(sys.executable).parent)


def test_a_version_is_started_by_its_own_procfile(version: Version) -> None:
    assert version.command("api") == "exec env SERVICE=api HTTP_PORT=${UP_API:-8080} serve"
    assert version.command("relay") == "exec relay"
    with pytest.raises(ServiceError, match="abc: its Procfile has no process deliver"):
        version.command("deliver")


def test_its_programs_come_first_and_nothing_leads_to_another_checkout(version: Version) -> None:
    environ = version.environ(
        {"PATH": "/bin", "PYTHONPATH": "/elsewhere", "MAKEFLAGS": "COMPARE=x", "LOG_LEVEL": "error"}
    )
    assert environ == {"PATH": f"{version.bin}:/bin", "LOG_LEVEL": "error"}


def test_a_failing_command_is_reported_in_one_line(version: Version) -> None:
    (version.folder / "manage.py").write_text("print('first'); raise LookupError('no such table')")
    with pytest.raises(ServiceError, match=r"^abc: manage.py migrate failed: LookupError: no such table$"):
        version.manage("migrate", environ={})


def test_an_environment_fits_if_it_has_every_pin_that_applies(tmp_path: Path) -> None:
    installed = importlib.metadata.version("psycopg")
    (tmp_path / "requirements.txt").write_text(
        f"# comment==1\npsycopg[binary]=={installed} \\\n    --hash=sha256:00\n    # via x==2\n"
        "absent-package==1 ; sys_platform == 'win32'\n"
    )
    assert list(bench_versions._missing(tmp_path)) == []
    (tmp_path / "requirements-tracing.txt").write_text("psycopg==0.1\nabsent-package==1\n")
    assert list(bench_versions._missing(tmp_path)) == ["psycopg==0.1", "absent-package==1"]


def test_the_files_of_a_commit_are_unpacked_once(tmp_path: Path) -> None:
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("no clone")
    found = bench_versions.at("HEAD", cache=tmp_path)
    assert (found.folder / "Procfile").exists()
    assert "api" in found.command("api")
    assert found.bin == Path(sys.executable).parent, "HEAD's requirements are the installed ones"
    (found.folder / "Procfile").write_text("kept")
    assert bench_versions.at("HEAD", cache=tmp_path).folder == found.folder
    assert (found.folder / "Procfile").read_text() == "kept"
    with pytest.raises(ServiceError, match="no-such-ref"):
        bench_versions.at("no-such-ref", cache=tmp_path)
