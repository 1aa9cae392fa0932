"""The watchdog: waits until a process ends, then stops the services of a folder.

Started by `apps.devservices.watchdog`: `python -m apps.devservices.watchdog_process PID DIRECTORY`.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

import psutil

from apps.devservices import stack, watchdog

POLL_SECONDS = 1.0


def watch(pid: int, directory: Path) -> None:
    """Wait until the process has ended, then stop the services."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL_SECONDS)
    stack.down(directory)
    watchdog.daemon(directory).pid_file.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=watch.__doc__)
    parser.add_argument("pid", type=int)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    watch(arguments.pid, arguments.directory)
