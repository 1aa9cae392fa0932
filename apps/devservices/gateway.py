"""All processes of the gateway on this machine, as child processes: for the demo, the benchmark and flow tests.

It does not start PostgreSQL, Kafka and ClickHouse (see `stack`), and does not migrate them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from apps.devservices.ports import HOST, remembered_ports
from apps.devservices.processes import PROJECT_ROOT, ServiceError, last_relevant_line, wait_until

API: Final = "api"
REPORTING: Final = "reporting"
RELAY: Final = "relay"
DELIVER: Final = "deliver"
SETTLE: Final = "settle"
INGEST: Final = "ingest"
CALLBACKS: Final = "callbacks"
WATCH: Final = "watch"
"""Measures from outside; `start_all` does not start it."""
OPERATOR_SIMULATOR: Final = "operator_simulator"

NAMES: Final = (OPERATOR_SIMULATOR, API, REPORTING, RELAY, DELIVER, SETTLE, INGEST, CALLBACKS)
STOP_SECONDS: Final = 45.0
"""Longest wait for a process to stop: more than the worker's own drain timeout."""

_BOUND: Final = Path(__file__).with_name("bound_process.py")
_PROBE_SECONDS: Final = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Ports:
    """The loopback port of each process: of its HTTP service, or of its metrics."""

    api: int
    reporting: int
    relay: int
    deliver: int
    settle: int
    ingest: int
    callbacks: int
    operator_simulator: int
    watch: int


class Gateway:
    """The processes by name (NAMES). A context manager: they stop when the block ends, or the calling process.

    Methods raise ServiceError, one line: which process, what happened, what its log says. Processes end with the thread
    that started them, so start them from a long-lived thread.
    """

    def __init__(
        self,
        *,
        directory: Path,
        environ: Mapping[str, str],
        ports: Ports | None = None,
        workers: int = 2,
        simulator_options: Sequence[str] = (),
    ) -> None:
        """`directory`: for the log files, one per process. `environ`: the environment of all processes, with the
        services' addresses. `ports`: free ones unless given. `workers`: gunicorn processes of each HTTP service.
        """
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        if ports is None:
            count = len(dataclasses.fields(Ports))
            ports = Ports(*remembered_ports(directory / "gateway.ports", count=count))
        self.ports = ports
        self._workers = workers
        self._simulator_options = simulator_options
        self._environ = {
            **environ,
            "OPERATOR_MCI_URL": self.simulator_url,
            "OPERATOR_IRANCELL_URL": self.simulator_url,
        }
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logged: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A child that does not stop must not hide the first error.
        with contextlib.suppress(*([ServiceError] if error else [])):
            self.stop_all()

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.ports.api}"

    @property
    def reporting_url(self) -> str:
        return f"http://{HOST}:{self.ports.reporting}"

    @property
    def simulator_url(self) -> str:
        return f"http://{HOST}:{self.ports.operator_simulator}"

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self._directory / f"{name}.log"

    def pid(self, name: str) -> int:
        """The process id of a started process."""
        return self._child(name).pid

    def alive(self, name: str) -> bool:
        """True if the process was started and still runs."""
        child = self._children.get(name)
        return child is not None and child.poll() is None

    def start(self, *names: str, root: Path = PROJECT_ROOT) -> None:
        """Start these processes, without waiting for them. `root`: the checkout whose code they run."""
        for name in names:
            if self.alive(name):
                raise ServiceError(f"{name} is already running.")
            self._require_free_port(name)
            with self._open_log(name) as log:
                self._children[name] = subprocess.Popen(
                    [sys.executable, str(_BOUND), str(os.getpid()), *self._command(name)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=root,
                    env=self._environ_of(name),
                    # Ctrl-C in the terminal must reach only this process. The group also holds gunicorn's children.
                    start_new_session=True,
                )

    def start_all(self) -> None:
        """Start every process, without waiting for them."""
        self.start(*NAMES)

    def wait_ready(self, *names: str, timeout: float = 60.0) -> None:
        """Wait until these processes report that they are ready. Without names: all that were started."""
        for name in names or tuple(self._children):
            reply = "nothing"

            def is_ready(name: str = name) -> bool:
                nonlocal reply
                self.check()
                reply = answer(self._probe_url(name))
                return reply == "ok"

            if not wait_until(is_ready, timeout=timeout):
                raise ServiceError(
                    f"{name} is not ready after {timeout:.0f} s; it says: {reply} ({self._complaint(name)})."
                )

    def check(self) -> None:
        """Raises ServiceError if a process ended by itself."""
        for name, child in self._children.items():
            if (code := child.poll()) is not None:
                raise ServiceError(f"{name} ended by itself, {_ending(code)}: {self._complaint(name)}.")

    def stop(self, name: str, sig: signal.Signals = signal.SIGTERM, *, timeout: float = STOP_SECONDS) -> int:
        """Signal the process, and wait until it and its children are gone. Returns its exit code, or minus its signal.

        After `timeout` seconds it is killed, and ServiceError is raised.
        """
        child = self._child(name)
        child.send_signal(sig)
        return self._wait_stopped(name, timeout)

    def stop_all(self) -> None:
        """Stop all running processes at once."""
        for child in self._children.values():
            child.send_signal(signal.SIGTERM)
        errors = []
        for name in list(self._children):
            try:
                self._wait_stopped(name, STOP_SECONDS)
            except ServiceError as error:
                errors.append(str(error))
        if errors:
            raise ServiceError(" ".join(errors))

    def restart(self, name: str, *, timeout: float = 60.0) -> None:
        """Stop the process cleanly if it runs, start it again, and wait until it is ready."""
        if self.alive(name):
            self.stop(name)
        self.start(name)
        self.wait_ready(name, timeout=timeout)

    def _child(self, name: str) -> subprocess.Popen[bytes]:
        try:
            return self._children[name]
        except KeyError:
            raise ServiceError(f"{name} is not running.") from None

    def _wait_stopped(self, name: str, timeout: float) -> int:
        child = self._children.pop(name)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill_group(child.pid)
            child.wait()
            raise ServiceError(f"{name} did not stop within {timeout:.0f} s: {self._complaint(name)}.") from None
        # gunicorn's workers outlive a killed master for a moment.
        if not wait_until(lambda: not _group_exists(child.pid), timeout=5.0):
            _kill_group(child.pid)
        return code

    def _command(self, name: str) -> list[str]:
        if name in (API, REPORTING):
            config = "python:smsgateway.gunicorn"
            return [sys.executable, "-m", "gunicorn", "-c", config, "smsgateway.wsgi"]
        command = [sys.executable, "manage.py", name]
        if name == OPERATOR_SIMULATOR:
            receipts = f"{self.api_url}/v1/operators/{{operator}}/receipts"
            command += ["--port", str(self._port(name)), "--receipts-url", receipts, *self._simulator_options]
        return command

    def _environ_of(self, name: str) -> dict[str, str]:
        if name in (API, REPORTING):
            own = {
                "SERVICE": name,
                "HTTP_PORT": str(self._port(name)),
                "HTTP_WORKERS": str(self._workers),
                "ADMIN_PROCESSES": ",".join(
                    f"{worker}=http://{HOST}:{self._port(worker)}/metrics"
                    for worker in (RELAY, DELIVER, SETTLE, INGEST, CALLBACKS)
                ),
            }
        else:
            own = {"METRICS_PORT": "0" if name == OPERATOR_SIMULATOR else str(self._port(name))}
        return {**self._environ, **own}

    def _probe_url(self, name: str) -> str:
        path = {API: "readyz", REPORTING: "readyz", OPERATOR_SIMULATOR: "control/summary"}.get(name, "healthz")
        return f"http://{HOST}:{self._port(name)}/{path}"

    def _port(self, name: str) -> int:
        port: int = getattr(self.ports, name)
        return port

    def _require_free_port(self, name: str) -> None:
        if not is_free(self._port(name)):
            raise ServiceError(
                f"{name}: port {self._port(name)} on {HOST} is taken. "
                "Stop what uses it (`ss -ltnp` shows it), or choose another."
            )

    def _open_log(self, name: str) -> IO[bytes]:
        """Open the log. It is emptied at the first start: errors of an earlier run must not show up."""
        mode = "ab" if name in self._logged else "wb"
        self._logged.add(name)
        return self.log(name).open(mode)

    def _complaint(self, name: str) -> str:
        return f"{last_relevant_line(self.log(name))} (log: {self.log(name)})"


def is_free(port: int) -> bool:
    """True if a process could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answer(url: str) -> str:
    """`ok` if a GET of this URL succeeds; otherwise the error."""
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_SECONDS):
            return "ok"
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace").strip()
    except OSError as error:
        return str(error)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
