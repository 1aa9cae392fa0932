"""What cron jobs leave for Prometheus."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from smsgateway import textfile_metrics


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    general = dataclasses.replace(settings.CONFIG.general, metrics_textfile_dir=str(tmp_path))
    settings.CONFIG = dataclasses.replace(settings.CONFIG, general=general)
    return tmp_path


def value(path: Path, name: str) -> float:
    # Other tests of this process may have run jobs of their own.
    found = re.search(rf'^{name}(?:{{job="search"}})? (\S+)$', path.read_text(), re.MULTILINE)
    assert found, path.read_text()
    return float(found[1])


def test_a_job_writes_its_metrics_and_its_result(folder: Path) -> None:
    found = Gauge("things_found", "Things.", registry=CollectorRegistry())
    with textfile_metrics.job("search", found):
        found.set(7)
    written = folder / "smsgateway_search.prom"
    assert value(written, "things_found") == 7
    assert value(written, "job_last_run_succeeded") == 1
    first = value(folder / "smsgateway_search_success.prom", "job_last_success_timestamp_seconds")
    assert first == value(written, "job_last_run_timestamp_seconds")

    def failing() -> None:
        with textfile_metrics.job("search", found):
            found.set(8)
            raise ValueError("out of luck")

    with pytest.raises(ValueError, match="out of luck"):
        failing()
    assert value(written, "things_found") == 8
    assert value(written, "job_last_run_succeeded") == 0
    assert value(folder / "smsgateway_search_success.prom", "job_last_success_timestamp_seconds") == first
    assert {path.suffix for path in folder.iterdir()} == {".prom"}


def test_a_job_writes_only_its_own_series(folder: Path) -> None:
    for name in ("first", "second"):
        with textfile_metrics.job(name):
            pass
    assert "first" not in (folder / "smsgateway_second.prom").read_text()
    assert "first" not in (folder / "smsgateway_second_success.prom").read_text()


def test_a_missing_folder_does_not_fail_the_job(folder: Path, settings: Any) -> None:
    folder.rmdir()
    with textfile_metrics.job("search"):
        done = True
    assert done
