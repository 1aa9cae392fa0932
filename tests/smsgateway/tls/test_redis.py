"""REDIS_URL with TLS, against redis-server: counts are shared, and a wrong certificate is refused."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from apps.customers import rate_limit
from smsgateway import config, ids
from tests.support.certificates import Certificate, Certificates
from tests.support.settings import COMPLETE
from tests.support.waiting import wait_for


@contextmanager
def redis(certificate: Certificate, certificates: Certificates, folder: Path, *, clients: str = "no") -> Iterator[int]:
    """redis-server with this certificate and no port without TLS. `clients`: whether they must show one too."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("REQUIRE_REDIS"):
            pytest.fail("redis-server is missing")
        pytest.skip("redis-server is missing: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = ["--tls-cert-file", str(certificate.chain), "--tls-key-file", str(certificate.key)]
    trust = ["--tls-ca-cert-file", str(certificates.ca), "--tls-auth-clients", clients]
    command = [program, "--port", "0", "--tls-port", str(port), "--save", "", "--dir", str(folder), *files, *trust]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens, "redis-server to listen")
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def counted(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[dict[str, Any]]]:
    """Take a message from an allowance that this Redis keeps; what was logged. Uses the setting as a process does."""

    def count(url: str) -> list[dict[str, Any]]:
        found, problems = config.load(COMPLETE | {"REDIS_URL": url})
        assert problems == []
        limiter = rate_limit._limiter(found.redis.url)
        with capture_logs() as logs:
            limiter.take(customer_id=UUID(int=ids.new_id().int), messages=1, limit=5)
        return logs

    return count


def url(port: int, ca: Path, host: str = "localhost", **more: Path) -> str:
    options = "".join(f"&{name}={value}" for name, value in more.items())
    return f"rediss://{host}:{port}/0?ssl_ca_certs={ca}{options}"


def test_the_right_certificate_is_accepted(
    certificates: Certificates, tmp_path: Path, counted: Callable[[str], list[dict[str, Any]]]
) -> None:
    with redis(certificates.right, certificates, tmp_path) as port:
        assert counted(url(port, certificates.ca)) == []


@pytest.mark.parametrize(("shown", "trusted"), [("right", "other_ca"), ("wrong_name", "ca"), ("expired", "ca")])
def test_a_wrong_certificate_is_refused(
    certificates: Certificates,
    tmp_path: Path,
    counted: Callable[[str], list[dict[str, Any]]],
    shown: str,
    trusted: str,
) -> None:
    with redis(getattr(certificates, shown), certificates, tmp_path) as port:
        (line,) = counted(url(port, getattr(certificates, trusted)))
    assert line["event"] == "rate_limits_unchecked"
    assert "certificate verify failed" in line["error"]


def test_a_client_shows_its_own_certificate(
    certificates: Certificates, tmp_path: Path, counted: Callable[[str], list[dict[str, Any]]]
) -> None:
    own = {"ssl_certfile": certificates.client.chain, "ssl_keyfile": certificates.client.key}
    with redis(certificates.right, certificates, tmp_path, clients="yes") as port:
        assert counted(url(port, certificates.ca, **own)) == []
        (line,) = counted(url(port, certificates.ca))
    assert line["event"] == "rate_limits_unchecked"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rediss://h/0?ssl_ca_cert=/ca.pem", "the client refuses an option: got an unexpected keyword argument"),
        ("rediss://h/0?ssl_ca_certs=/no/such.pem", "its ssl_ca_certs is '/no/such.pem', but there is no such file"),
        ("redis://h:port/0", "it is not a URL"),
    ],
)
def test_a_wrong_option_is_a_problem_of_the_setting(given: str, said: str) -> None:
    (problem,) = config.load(COMPLETE | {"REDIS_URL": given})[1]
    assert problem.message.startswith(f"REDIS_URL is wrong: {said}")
