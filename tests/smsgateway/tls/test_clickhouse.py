"""CLICKHOUSE_URL with TLS: the server of the tests, behind one that terminates TLS, certificates right and wrong."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from smsgateway import config
from smsgateway.clickhouse import ClickHouse, ClickHouseUnavailable
from tests.support.certificates import Certificates
from tests.support.settings import COMPLETE
from tests.support.tls_proxy import tls_in_front


def server() -> tuple[str, int]:
    parts = urlsplit(settings.CONFIG.clickhouse.url)
    assert parts.hostname
    return parts.hostname, parts.port or 9000


def client(port: int, ca: Path, host: str = "localhost", more: str = "") -> ClickHouse:
    parts = urlsplit(settings.CONFIG.clickhouse.url)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    url = f"clickhouses://{login}{host}:{port}{parts.path}?ca_certs={ca}{more}"
    found, problems = config.load(COMPLETE | {"CLICKHOUSE_URL": url})
    assert problems == []
    return ClickHouse(found.clickhouse)


def test_the_right_certificate_is_accepted(certificates: Certificates) -> None:
    with tls_in_front(server(), certificates.right) as port:
        used = client(port, certificates.ca)
        assert used.query("SELECT 41 + 1") == [(42,)]
        used.close()


def test_the_name_in_the_certificate_can_be_given(certificates: Certificates) -> None:
    with tls_in_front(server(), certificates.wrong_name) as port:
        used = client(port, certificates.ca, more="&server_hostname=elsewhere.example")
        assert used.query("SELECT 1") == [(1,)]
        used.close()


@pytest.mark.parametrize(
    ("shown", "trusted", "said"),
    [
        ("right", "other_ca", "unable to get local issuer certificate"),
        ("wrong_name", "ca", "Hostname mismatch"),
        ("expired", "ca", "certificate has expired"),
    ],
)
def test_a_wrong_certificate_is_refused(certificates: Certificates, shown: str, trusted: str, said: str) -> None:
    with tls_in_front(server(), getattr(certificates, shown)) as port:
        used = client(port, getattr(certificates, trusted))
        with pytest.raises(ClickHouseUnavailable, match=said):
            used.query("SELECT 1")
        used.close()


def test_a_server_without_tls_is_refused(certificates: Certificates) -> None:
    host, port = server()
    used = client(port, certificates.ca, host=host)
    with pytest.raises(ClickHouseUnavailable):
        used.query("SELECT 1")
    used.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("clickhouses://h/d?ca_cert=/ca.pem", "the driver has no option 'ca_cert' (did you mean ca_certs?)"),
        ("clickhouses://h/d?ca_certs=/no/such.pem", "its ca_certs is '/no/such.pem', but there is no such file"),
        ("clickhouse://h/d?verify=1", "options of TLS need clickhouses://"),
    ],
)
def test_a_wrong_option_is_a_problem_of_the_setting(url: str, said: str) -> None:
    (problem,) = config.load(COMPLETE | {"CLICKHOUSE_URL": url})[1]
    assert problem.message == f"CLICKHOUSE_URL is wrong: {said}."
