"""Jobs that fail and a disk that is full, for real: Prometheus and the node exporter see it, our rules tell of it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from apps.reporting import schema
from smsgateway import clickhouse
from tests.support.database import database_url
from tests.support.prometheus import Prometheus, node_exporter
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

NOWHERE = {
    "partitions": {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nowhere"},
    "reconcile": {"CLICKHOUSE_URL": "clickhouse://nobody@127.0.0.1:1/nowhere"},
}
COMMANDS = {"partitions": ["partitions", "apply"], "reconcile": ["reconcile"]}


@pytest.fixture
def statistics() -> Iterator[str]:
    """The address of a ClickHouse database with nothing in it but its schema, as PostgreSQL is empty."""
    name = f"jobs_{uuid.uuid4().hex[:10]}"
    config = settings.CONFIG.clickhouse
    outside = clickhouse.ClickHouse(config)
    outside.execute(f"CREATE DATABASE {name}")
    config = dataclasses.replace(config, url=f"{config.url.rpartition('/')[0]}/{name}")
    client = clickhouse.ClickHouse(config)
    list(schema.migrate(database=client))
    client.close()
    yield config.url
    outside.execute(f"DROP DATABASE {name}")
    outside.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.breaks("JobFailed")
def test_a_job_that_fails_and_one_that_did_not_succeed_for_long(tmp_path: Path, statistics: str) -> None:
    (files := tmp_path / "textfile").mkdir()
    own = {"METRICS_TEXTFILE_DIR": str(files), "DATABASE_URL": database_url(), "CLICKHOUSE_URL": statistics}

    def run(job: str, **environ: str) -> int:
        command = [sys.executable, "manage.py", *COMMANDS[job]]
        return subprocess.run(command, cwd=ROOT, env=os.environ | own | environ, capture_output=True).returncode

    with node_exporter(tmp_path / "node", files) as (port, _):
        with Prometheus(tmp_path / "prometheus", {"node": port}) as prometheus:
            for job, broken in NOWHERE.items():
                assert run(job) == 0
                went_well = f'job_last_run_succeeded{{exported_job="{job}"}} == 1'
                wait_for(lambda: prometheus.knows(went_well), "the job's metrics")  # noqa: B023
                assert not prometheus.alerts("JobFailed")
                assert run(job, **broken) == 1
                wait_for(lambda: prometheus.told("JobFailed", exported_job=job), f"the alert of {job}")  # noqa: B023
                assert run(job) == 0
                wait_for(lambda: not prometheus.alerts("JobFailed"), f"no alert of {job}")
        # The same files, to rules for which any success is long ago.
        instead = {"> 100800": "> 0.5"}
        with Prometheus(tmp_path / "later", {"node": port}, instead=instead) as prometheus:
            wait_for(lambda: prometheus.told("JobFailed", exported_job="partitions"), "the alert of an old success")


# In a mount namespace of its own a process may mount without being root. It does what it is told, line by line.
DISK = """
mount -t tmpfs -o size=8m data "$0"
"$@" &
trap "kill $!" EXIT
while read -r step; do sh -c "$step"; done
"""
UNSHARED = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.mark.breaks("DiskLow")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    for name in ("disk", "textfile"):
        (tmp_path / name).mkdir()
    if subprocess.run([*UNSHARED, "mount", "-t", "tmpfs", "data", tmp_path / "disk"], capture_output=True).returncode:
        pytest.skip("this system lets nobody but root mount a disk to be filled")
    shell = [*UNSHARED, "sh", "-c", DISK, str(tmp_path / "disk")]
    with node_exporter(tmp_path / "node", tmp_path / "textfile", within=shell) as (port, steps):

        def do(step: str) -> None:
            steps.write(f"{step}\n".encode())
            steps.flush()

        # The disk is memory, and the alert looks away from such: all else of it is as it is.
        with Prometheus(tmp_path / "prometheus", {"node": port}, instead={"tmpfs|": ""}) as prometheus:
            here = {"mountpoint": str(tmp_path / "disk"), "instance": f"127.0.0.1:{port}"}
            wait_for(lambda: prometheus.knows("node_filesystem_avail_bytes"), "metrics of disks")
            assert not prometheus.told("DiskLow", **here)
            do(f"head -c 7500000 /dev/zero >{tmp_path}/disk/rows")
            wait_for(lambda: prometheus.told("DiskLow", **here), "the alert of a full disk")
            do(f"rm {tmp_path}/disk/rows")
            wait_for(lambda: not prometheus.told("DiskLow", **here), "no alert of an empty disk")
            do(f"head -c 7500000 /dev/zero >{tmp_path}/disk/rows")
            wait_for(lambda: prometheus.told("DiskLow", **here), "the alert of a full disk")
            do(f"mount -o remount,ro {tmp_path}/disk")
            wait_for(lambda: not prometheus.told("DiskLow", **here), "no alert of a disk that nobody can write")
