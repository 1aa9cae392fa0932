"""The processes of one version under measurement, started by its own Procfile on loopback ports of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from apps.devservices.gateway import STOP_SECONDS, answer
from apps.devservices.ports import HOST, remembered_ports
from apps.devservices.processes import PROJECT_ROOT, ServiceError, last_relevant_line, wait_until
from scripts.bench_versions import Version

_BOUND: Final = PROJECT_ROOT / "apps" / "devservices" / "bound_process.py"
_READY_SECONDS: Final = 90.0


class Processes:
    """A context manager: they stop when the block ends, and with this process. Methods raise ServiceError, one line
    that names the version, the process, and what its log says."""

    def __init__(self, version: Version, *, environ: Mapping[str, str], logs: Path) -> None:
        """`environ`: the environment of all of them. `logs`: a folder for one log file each."""
        logs.mkdir(parents=True, exist_ok=True)
        self._version = version
        self._logs = logs
        api, operators, reporting = remembered_ports(logs / "ports", count=3)
        self._ports = {"api": api, "operators": operators, "reporting": reporting}
        simulator = f"http://{HOST}:{operators}"
        self._environ = version.environ(environ) | {
            **{f"UP_{name.upper()}": str(port) for name, port in self._ports.items()},
            **dict.fromkeys(("OPERATOR_MCI_URL", "OPERATOR_IRANCELL_URL"), simulator),
        }
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(*([ServiceError] if error else [])):  # the first error counts
            self.stop_all()

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self._ports['api']}"

    def process(self, name: str) -> psutil.Process:
        """A started process; its workers are its children."""
        return psutil.Process(self._children[name].pid)

    def start(self, name: str, *options: str) -> None:
        """Start this process of the Procfile, with more options at the end of its command."""
        command = " ".join([self._version.command(name), *options])
        with (self._logs / f"{name}.log").open("wb") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, str(_BOUND), str(os.getpid()), "/bin/sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._version.folder,
                env=self._environ,
                start_new_session=True,  # the group also holds the workers
            )

    def wait_ready(self) -> None:
        """Wait until the API answers, and the simulator if it was started."""
        urls = {
            "api": f"{self.api_url}/readyz",
            "operators": f"http://{HOST}:{self._ports['operators']}/control/summary",
        }
        for name in [name for name in urls if name in self._children]:
            reply = "nothing"

            def is_ready(name: str = name) -> bool:
                nonlocal reply
                self.check()
                reply = answer(urls[name])
                return reply == "ok"

            if not wait_until(is_ready, timeout=_READY_SECONDS):
                raise ServiceError(f"{self._version.name}: {name} is not ready; it says: {reply} ({self._log(name)}).")

    def check(self) -> None:
        """Raises ServiceError if a process ended by itself."""
        for name, child in self._children.items():
            if (code := child.poll()) is not None:
                raise ServiceError(f"{self._version.name}: {name} ended by itself, code {code}: {self._log(name)}.")

    def stop_all(self) -> None:
        """Ask all of them to end, and wait until they and their workers are gone."""
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        late = [name for name in list(self._children) if not self._ended(name)]
        if late:
            raise ServiceError(f"{self._version.name}: {', '.join(late)} did not stop within {STOP_SECONDS:.0f} s.")

    def _ended(self, name: str) -> bool:
        child = self._children.pop(name)
        try:
            child.wait(STOP_SECONDS)
            return wait_until(lambda: not _exists(child.pid), timeout=5.0)
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _log(self, name: str) -> str:
        log = self._logs / f"{name}.log"
        return f"{last_relevant_line(log)} (log: {log})"


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
