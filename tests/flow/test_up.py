"""`make up` as a newcomer runs it: what it prints works, whatever keys are required, and it stops without an error."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apps.devservices.ports import remembered_ports
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]
_CURL = re.compile(r"^  (curl (?:.*\\\n)*.*)$", re.MULTILINE)


@contextmanager
def running(**settings: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`python -m scripts.up` with services of its own, and its log. It has a session of its own, as in a terminal."""
    with tempfile.TemporaryDirectory(prefix="up-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        ports = remembered_ports(folder / "ports", count=3)
        kept = {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "KAFKA_BROKERS"))}
        own = {"DEVSERVICES_DIR": str(folder / "services"), "UP_PORTS": ",".join(map(str, ports))}
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "scripts.up"],
                cwd=ROOT,
                env=kept | own | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process, folder / "up.log"
        finally:
            with contextlib.suppress(ProcessLookupError):  # also what a process that ended left behind
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _log(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize(
    ("keys", "number", "whole_group"),
    [("required", signal.SIGINT, True), ("optional", signal.SIGHUP, False), ("off", signal.SIGTERM, False)],
)
def test_what_it_prints_works_and_it_stops_without_an_error(
    keys: str, number: signal.Signals, whole_group: bool
) -> None:
    with running(API_KEYS=keys) as (process, log):

        def printed() -> bool:
            assert process.poll() is None, _log(log)
            return "Ctrl-C stops everything" in _log(log)

        wait_for(printed, "the welcome")
        commands = _CURL.findall(_log(log))
        assert len(commands) == 3
        for command in commands:
            done = subprocess.run(["sh", "-c", f"{command} -sS --fail-with-body"], capture_output=True, text=True)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        if whole_group:  # as a terminal does
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.wait() == 0, _log(log)
