"""The stack of development services in one folder: start, show and stop it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from apps.devservices import watchdog
from apps.devservices.clickhouse import ClickHouse
from apps.devservices.kafka_apache import ApacheKafka
from apps.devservices.kafka_embedded import EmbeddedKafka
from apps.devservices.postgres import Postgres
from apps.devservices.processes import PROJECT_ROOT, ServiceError, read_text, write_atomically
from apps.devservices.service import Service

KAFKA_KINDS: Final = ("embedded", "apache")
VARIABLES: Final = (Postgres.variable, EmbeddedKafka.variable, ClickHouse.variable)
ENV_FILE: Final = "env"

State = Literal["running", "given", "stopped"]


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The state of one service. `address`: None while stopped; `data` and `log`: None if its address is given."""

    name: str
    state: State
    version: str
    address: str | None
    data: Path | None
    log: Path | None


def default_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """`DEVSERVICES_DIR`, or `.devservices` in the project's root."""
    return Path(environ.get("DEVSERVICES_DIR") or PROJECT_ROOT / ".devservices")


def up(
    directory: Path,
    *,
    kafka: str = "embedded",
    brokers: int = 1,
    environ: Mapping[str, str] = os.environ,
    bound_to_pid: int | None = None,
) -> dict[str, str]:
    """Start the services that do not run yet. Returns their addresses, and writes them to `DIR/env`.

    A service whose address is in `environ` is not started, unless that address comes from `DIR/env`. With
    `bound_to_pid` all services stop when that process ends. Raises ServiceError: then the services that this call
    started are stopped again, and the others keep running.
    """
    directory = directory.resolve()
    with _locked(directory):
        given = _given(directory, environ)
        wanted = [
            service
            for service in (Postgres(directory), _kafka(directory, kafka, brokers), ClickHouse(directory))
            if service.variable not in given
        ]
        addresses: dict[str, str] = {}
        started: list[Service] = []
        try:
            for service in wanted:
                if service.address() is None:
                    started.append(service)
                addresses[service.variable] = service.start()
        except BaseException:
            for service in reversed(started):
                service.stop()
            raise
        for service in _all(directory):
            if all(service.name != kept.name for kept in wanted):
                service.stop()
        write_atomically(directory / ENV_FILE, "".join(f"{key}={value}\n" for key, value in addresses.items()))
        if bound_to_pid is not None:
            watchdog.start(directory, pid=bound_to_pid)
        return addresses


def down(directory: Path) -> None:
    """Stop all services of `directory`, and remove `DIR/env`. The data stays. Raises ServiceError if one cannot
    stop."""
    directory = directory.resolve()
    if not directory.exists():
        return
    with _locked(directory):
        watchdog.stop(directory)
        for service in _all(directory):
            service.stop()
        (directory / ENV_FILE).unlink(missing_ok=True)


def status(directory: Path, *, environ: Mapping[str, str] = os.environ) -> list[ServiceStatus]:
    """The states of PostgreSQL, Kafka and ClickHouse, in this order."""
    directory = directory.resolve()
    given = _given(directory, environ)
    apache = ApacheKafka(directory)
    kafka = apache if apache.address() else EmbeddedKafka(directory)
    return [_status_of(service, given) for service in (Postgres(directory), kafka, ClickHouse(directory))]


def read_env(directory: Path) -> dict[str, str]:
    """The addresses in `DIR/env`; empty if the stack is down."""
    lines = (read_text(directory / ENV_FILE) or "").splitlines()
    return dict(line.split("=", 1) for line in lines)


def _status_of(service: Service, given: Mapping[str, str]) -> ServiceStatus:
    name = service.name.partition("-")[0]
    if address := given.get(service.variable):
        return ServiceStatus(name, "given", service.variable, address, None, None)
    address = service.address()
    return ServiceStatus(
        name, "running" if address else "stopped", service.version(), address, service.data, service.log
    )


def _given(directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    ours = read_env(directory)
    return {name: environ[name] for name in VARIABLES if environ.get(name) and environ[name] != ours.get(name)}


def _kafka(directory: Path, kind: str, brokers: int) -> Service:
    if kind not in KAFKA_KINDS:
        raise ValueError(f"kafka must be one of {', '.join(KAFKA_KINDS)}")
    return ApacheKafka(directory, brokers=brokers) if kind == "apache" else EmbeddedKafka(directory)


def _all(directory: Path) -> list[Service]:
    return [ClickHouse(directory), ApacheKafka(directory), EmbeddedKafka(directory), Postgres(directory)]


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let only one `up` or `down` run at a time."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise ServiceError(
            f"devservices: cannot write to {directory}: {error.strerror}. Choose another --dir."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
