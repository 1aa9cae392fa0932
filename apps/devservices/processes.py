"""Background processes of the development services: start, find, wait for, and stop them."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]
POLL_SECONDS: Final = 0.05

# The shell ends at once, so init adopts the daemon: the caller keeps no zombie and no Popen object.
_DETACH: Final = '"$@" >&2 </dev/null & echo $!'

Found = TypeVar("Found")


class ServiceError(Exception):
    """A service did not start or stop. The message is one line: which service, what happened, what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class SystemUser:
    """The account that runs a process which must not run as root."""

    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, slots=True)
class Daemon:
    """One background process with its pid file and its log in `directory`.

    `marker`: a part of the command line that no other process has. If the pid was reused by another process, that
    process is never mistaken for this one, and never signalled.
    """

    name: str
    directory: Path
    marker: str

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    def process(self) -> psutil.Process | None:
        """The running process, or None."""
        try:
            process = psutil.Process(int(self.pid_file.read_text()))
            if process.status() != psutil.STATUS_ZOMBIE and any(self.marker in word for word in process.cmdline()):
                return process
        except (FileNotFoundError, ValueError, psutil.Error):
            pass
        return None

    def start(
        self,
        command: Sequence[str],
        *,
        user: SystemUser | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run `command` in a session of its own, as `user`, with a new log. The previous log is kept as `.log.1`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        with self.log.open("wb") as log:
            try:
                shell = subprocess.run(
                    ["/bin/sh", "-c", _DETACH, "sh", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    # Another user may not be able to enter the project; our own modules are found from its root.
                    cwd="/" if user else PROJECT_ROOT,
                    env={**os.environ, **(environ or {})},
                    start_new_session=True,
                    check=True,
                    **as_user(user),
                )
            except OSError as error:
                raise ServiceError(f"{self.name}: cannot start {command[0]}: {error}.") from error
        write_atomically(self.pid_file, shell.stdout.decode())

    def wait_ready(self, probe: Callable[[], Found | None], *, timeout: float) -> Found:
        """Poll `probe` until it returns a value. Raises ServiceError if the process ends, or after `timeout`
        seconds."""
        deadline = time.monotonic() + timeout
        while (found := probe()) is None:
            self.check_alive()
            if time.monotonic() > deadline:
                self.stop()
                raise ServiceError(f"{self.name} did not answer within {timeout:.0f} s: {self.complaint()}")
            time.sleep(POLL_SECONDS)
        return found

    def check_alive(self) -> None:
        """Raises ServiceError if the process has ended while starting."""
        if self.process() is None:
            self.pid_file.unlink(missing_ok=True)
            raise ServiceError(f"{self.name} ended while starting: {self.complaint()}")

    def send(self, sign: signal.Signals) -> None:
        """Signal the process, if it runs."""
        try:
            if process := self.process():
                process.send_signal(sign)
        except psutil.NoSuchProcess:
            pass
        except psutil.AccessDenied as error:
            raise ServiceError(f"{self.name} runs as another user. Stop it as that user.") from error

    def stop(self, *, sign: signal.Signals = signal.SIGTERM, timeout: float = 20.0) -> None:
        """Signal the process, and wait until it is gone. After `timeout` seconds it is killed."""
        process = self.process()
        if process is not None:
            # From here on use the process object: a dying process has no command line with the marker.
            self.send(sign)
            if not wait_until(lambda: has_ended(process), timeout=timeout):
                self.send(signal.SIGKILL)
                if not wait_until(lambda: has_ended(process), timeout=5.0):
                    raise ServiceError(f"{self.name} cannot be killed. Look at the process in {self.pid_file}.")
        self.pid_file.unlink(missing_ok=True)

    def complaint(self) -> str:
        """The error at the end of the log, what to do about it, and the log's path."""
        line = last_relevant_line(self.log)
        return f"{line}{_advice(line)} (log: {self.log})"


def has_ended(process: psutil.Process) -> bool:
    """True if the process has exited, even if its parent has not waited for it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def as_user(user: SystemUser | None) -> dict[str, Any]:
    """The arguments that make `subprocess.run` change to this account."""
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of this project with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def wait_until(condition: Callable[[], bool], *, timeout: float) -> bool:
    """Poll `condition`. Returns True if it came true within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def write_atomically(path: Path, text: str) -> None:
    """Replace the file in one step: a reader finds the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.write_text(text)
    draft.replace(path)


def read_text(path: Path) -> str | None:
    """The text of a small file without surrounding space, or None if it is missing or empty."""
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def last_relevant_line(log: Path) -> str:
    """The last line of a log that shows an error, or else its last line."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "it left no log"
    worded = [line for line in lines if any(word in line for word in ("FATAL", "ERROR", "Error", "error:"))]
    return (worded or lines or ["it left no log"])[-1][:300]


def _advice(line: str) -> str:
    lowered = line.lower()
    if "no space left" in lowered or "not_enough_space" in lowered:
        return " Free some disk space and try again."
    if "address already in use" in lowered:
        return " Another process took the port: try again, a free one is chosen."
    if "permission denied" in lowered or "operation not permitted" in lowered:
        return " Start it as the user that owns the data folder."
    return ""
