"""A complete set of settings, and processes that know nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.tools import ROOT

COMPLETE = {
    "DATABASE_URL": "postgres://u:p@db/sms",
    "CLICKHOUSE_URL": "clickhouse://default@ch:9000/sms",
    "KAFKA_BROKERS": "a:9092, b:9092",
}


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "DEVSERVICES_DIR": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
