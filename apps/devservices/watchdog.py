"""Stops the services of a folder when a process is gone: an aborted test run leaves nothing behind."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path

import psutil

from apps.devservices.processes import Daemon, python_command

POLL_SECONDS = 1.0


def start(directory: Path, *, pid: int) -> None:
    """Watch `pid`, instead of whatever was watched for this folder before."""
    stop(directory)
    _daemon(directory).start(python_command(__name__, str(pid), str(directory)))


def stop(directory: Path) -> None:
    """End the watchdog of this folder, unless it is the caller itself."""
    process = _daemon(directory).process()
    if process is None or process.pid != os.getpid():
        _daemon(directory).stop()


def _daemon(directory: Path) -> Daemon:
    return Daemon("watchdog", directory, marker=str(directory))


def watch(pid: int, directory: Path) -> None:
    """Wait until the process has ended, then stop the services."""
    from apps.devservices import stack  # it imports this module

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL_SECONDS)
    stack.down(directory)
    _daemon(directory).pid_file.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=watch.__doc__)
    parser.add_argument("pid", type=int)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    watch(arguments.pid, arguments.directory)
