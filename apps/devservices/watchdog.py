"""Stops the services of a folder when a process ends: an aborted test run leaves nothing running."""

from __future__ import annotations

import os
from pathlib import Path

from apps.devservices.processes import Daemon, python_command


def start(directory: Path, *, pid: int) -> None:
    """Watch the process `pid`. It replaces the process that was watched for this folder before."""
    stop(directory)
    daemon(directory).start(python_command("apps.devservices.watchdog_process", str(pid), str(directory)))


def stop(directory: Path) -> None:
    """Stop the watchdog of this folder, unless it is the caller."""
    process = daemon(directory).process()
    if process is None or process.pid != os.getpid():
        daemon(directory).stop()


def daemon(directory: Path) -> Daemon:
    """The watchdog process of this folder."""
    return Daemon("watchdog", directory, marker=str(directory))
