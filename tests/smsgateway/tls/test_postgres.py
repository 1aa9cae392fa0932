"""DATABASE_URL with TLS, against PostgreSQL of the distribution: the options reach libpq, and wrong certificates are
refused."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg import OperationalError

from smsgateway import config
from smsgateway.postgres.django_settings import database_settings
from tests.support.certificates import Certificate, Certificates
from tests.support.settings import COMPLETE
from tests.support.waiting import wait_for


class Server(NamedTuple):
    """A PostgreSQL with TLS only."""

    port: int
    folder: Path

    def show(self, certificate: Certificate) -> None:
        """Show this certificate from now on."""
        shutil.copy(certificate.chain, self.folder / "server.crt")
        shutil.copy(certificate.key, self.folder / "server.key")
        (self.folder / "server.key").chmod(0o600)
        owned(self.folder / "server.crt", self.folder / "server.key")
        as_postgres("pg_ctl", "-D", self.folder, "reload")

    def url(self, *hosts: str, **options: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        places = ",".join(host if ":" in host else f"{host}:{self.port}" for host in hosts)
        return f"postgres://postgres@{places}/postgres?{query}"


def binaries() -> Path:
    """The folder of a PostgreSQL that was built with TLS."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        if os.environ.get("REQUIRE_POSTGRES_TLS"):
            pytest.fail("PostgreSQL of the distribution is not installed")
        pytest.skip("needs PostgreSQL with TLS: apt-get install postgresql")
    return found[-1].parent


def as_postgres(name: str, *arguments: object) -> None:
    """Run one of PostgreSQL's commands; it refuses to run as root."""
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    command = [*user, str(binaries() / name), *map(str, arguments)]
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def owned(*paths: Path) -> None:
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, "postgres", "postgres")


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tls-") as name:  # pytest's own folders are closed to other users
        folder = Path(name) / "data"
        folder.mkdir()
        Path(name).chmod(0o755)
        owned(folder)
        as_postgres("initdb", "-D", folder, "--auth=trust", "--username=postgres", "--no-sync")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "pg_hba.conf").write_text("hostssl all all all trust\n")
        with (folder / "postgresql.conf").open("a") as conf:
            conf.write(f"listen_addresses='127.0.0.1'\nport={port}\nunix_socket_directories=''\nfsync=off\n")
        found = Server(port, folder)
        for path, source in (("server.crt", certificates.right.chain), ("server.key", certificates.right.key)):
            shutil.copy(source, folder / path)
            owned(folder / path)
        (folder / "server.key").chmod(0o600)
        with (folder / "postgresql.conf").open("a") as conf:
            conf.write("ssl=on\n")
        as_postgres("pg_ctl", "-D", folder, "-w", "-l", folder / "log", "start")
        try:
            yield found
        finally:
            as_postgres("pg_ctl", "-D", folder, "-w", "-m", "immediate", "stop")


def connected(url: str) -> Any:
    """A connection as Django makes it of our setting."""
    found, problems = config.load(COMPLETE | {"DATABASE_URL": url})
    assert problems == []
    given = database_settings(found.database)
    wrapper = DatabaseWrapper(
        {"TIME_ZONE": None, "CONN_HEALTH_CHECKS": False, "ATOMIC_REQUESTS": False, "AUTOCOMMIT": True, **given}
    )
    return psycopg.connect(**wrapper.get_connection_params())


def asked(url: str, sql: str) -> Any:
    with connected(url) as connection:
        return connection.execute(sql).fetchone()[0]


def test_the_right_certificate_is_accepted_and_the_connection_is_encrypted(
    server: Server, certificates: Certificates
) -> None:
    server.show(certificates.right)
    url = server.url("localhost", sslmode="verify-full", sslrootcert=str(certificates.ca))
    assert asked(url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True


@pytest.mark.parametrize(
    ("shown", "trusted", "said"),
    [
        ("right", "other_ca", "certificate verify failed"),
        ("wrong_name", "ca", 'does not match host name "localhost"'),
        ("expired", "ca", "certificate verify failed"),
    ],
)
def test_a_wrong_certificate_is_refused(
    server: Server, certificates: Certificates, shown: str, trusted: str, said: str
) -> None:
    server.show(getattr(certificates, shown))
    trust = str(getattr(certificates, trusted))
    url = server.url("localhost", sslmode="verify-full", sslrootcert=trust)

    def is_refused() -> bool:
        """A reload takes effect a moment later."""
        try:
            connected(url).close()
        except OperationalError as error:
            return said in str(error)
        return False

    wait_for(is_refused, said)


def test_an_option_reaches_the_server(server: Server, certificates: Certificates) -> None:
    server.show(certificates.right)
    url = server.url("127.0.0.1", sslmode="require", application_name="sender", options="-c%20work_mem%3D5MB")
    assert asked(url, "SHOW application_name") == "sender"
    assert asked(url, "SHOW work_mem") == "5MB"
    assert asked(url, "SHOW lock_timeout") == "5s"  # ours stay
    assert asked(server.url("127.0.0.1", sslmode="require"), "SHOW application_name") == "smsgateway"


def test_of_several_hosts_one_that_takes_writes_is_used(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    url = server.url(
        f"127.0.0.1:{closed}", f"127.0.0.1:{server.port}", sslmode="require", target_session_attrs="read-write"
    )
    assert asked(url, "SELECT inet_server_port()") == server.port
    with pytest.raises(OperationalError):
        connected(server.url("127.0.0.1", sslmode="require", target_session_attrs="standby"))


def test_a_process_refuses_the_wrong_server_in_one_line(server: Server, certificates: Certificates) -> None:
    server.show(certificates.right)
    url = server.url("localhost", sslmode="verify-full", sslrootcert=str(certificates.other_ca))
    done = subprocess.run(
        [sys.executable, "manage.py", "create_customer", "Shop"],
        env={"PATH": os.environ["PATH"], "DEVSERVICES_DIR": "/nonexistent", **COMPLETE, "DATABASE_URL": url},
        capture_output=True,
        text=True,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("PostgreSQL does not answer: ")
    assert "certificate verify failed" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("sslmod=verify-full", "PostgreSQL has no connection option 'sslmod' (did you mean sslmode?)"),
        ("sslmode=full", "its sslmode is 'full', not one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslmode=verify-full&sslrootcert=/no/such/ca.pem", "its sslrootcert is '/no/such/ca.pem', but there is no"),
        ("target_session_attrs=master", "its target_session_attrs is 'master', not one of any, read-write"),
        ("pool=5", "PostgreSQL has no connection option 'pool'"),
    ],
)
def test_a_wrong_option_is_a_problem_of_the_setting(options: str, said: str) -> None:
    url = f"postgres://gateway:hunter2@db:5432/sms?{options}"
    _, problems = config.load(COMPLETE | {"DATABASE_URL": url})
    (problem,) = problems
    assert problem.message.startswith(f"DATABASE_URL is wrong: {said}")
    assert "hunter2" not in str(problem)
