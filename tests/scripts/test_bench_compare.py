"""Two versions by turns, for real: both are migrated, seeded, started and loaded, and their answers are checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.database import database_url
from tests.support.tools import ROOT

pytestmark = [pytest.mark.django_db, pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is missing")]


def test_this_checkout_beside_its_last_commit(tmp_path: Path) -> None:
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("no clone")
    short = ["--pairs", "1", "--seconds", "1", "--warm-up", "1", "--customers", "2", "--connections", "4"]
    own = ["--directory", str(tmp_path), "--server", database_url()]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench_compare", "HEAD", "--cases", "full", *short, *own],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    try:
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert any(line.startswith("full: single sends with API_KEYS=required") for line in lines)
        assert any(line.startswith("ratio of each pair") for line in lines)
        (recorded,) = map(json.loads, (tmp_path / "compare.jsonl").read_text().splitlines())
        assert [len(one["runs"]) for one in recorded["runs"]] == [1, 1]
        for one in recorded["runs"]:
            (run,) = one["runs"]
            assert min(run.values()) > 0, "each figure was measured"
    finally:
        with psycopg.connect(database_url(), autocommit=True) as server:
            found = server.execute(r"SELECT datname FROM pg_database WHERE datname LIKE 'bench\_%'").fetchall()
            for (name,) in found:
                server.execute(f"DROP DATABASE {name} WITH (FORCE)")
