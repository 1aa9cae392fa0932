"""CPU seconds of processes, and the processes of the development services."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import psutil

from apps.devservices.processes import ServiceError

_IS: Final[dict[str, Callable[[list[str]], bool]]] = {
    "postgresql": lambda command: "postgres" in command[0] and "-D" in command,
    "kafka (embedded)": lambda command: "kafka_embedded" in " ".join(command),
    "kafka (Apache)": lambda command: "kafka.Kafka" in command,
    "clickhouse (chDB)": lambda command: "chdb_server" in " ".join(command),
}


def service(name: str, environ: Mapping[str, str]) -> psutil.Process:
    """The process of the service with this name in DEVSERVICES_DIR. Raises ServiceError."""
    folder = environ["DEVSERVICES_DIR"]
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if command and any(folder in part for part in command) and _IS[name](command):
            return process
    raise ServiceError(f"The process of {name} is not to be seen on this machine.")


def seconds(process: psutil.Process) -> float:
    """CPU seconds of the process and its children, including ended ones. Raises psutil.NoSuchProcess."""
    while True:
        try:
            times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        except psutil.NoSuchProcess:
            if not process.is_running():
                raise
            # A child ended meanwhile, such as a PostgreSQL backend: its parent has its time from now on.
            continue
        return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def own_seconds(process: psutil.Process) -> float:
    """CPU seconds of the process alone."""
    times = process.cpu_times()
    return float(times.user + times.system)
