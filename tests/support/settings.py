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

DEPLOYED = COMPLETE | {
    "SECRET_KEY": "k3J-bQz8_vWm2XrT9-nLp5YcD7-fHs4GaE6-uRi1OwB0-tZqMjVx",
    "HTTP_ALLOWED_HOSTS": "sms.example",
    "API_KEYS": "required",
    "PARTITION_ARCHIVE": "/archive",
    "OPERATOR_MCI_URL": "https://mci.example",
    "OPERATOR_MCI_TOKEN": "Vb7-hQ2_xR9w",
    "OPERATOR_MCI_RECEIPT_TOKEN": "mN4-pL8_yK3-tG6_zW",
}
"""What production and staging start with, but for ENVIRONMENT itself."""


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
