"""Settings that each have a valid value, and together make a deployment unsafe. They stop the start in production and
staging."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from smsgateway.config.problem import Problem

if TYPE_CHECKING:
    from smsgateway.config.settings import Config

_SIMULATOR_PORT: Final = 8090
# Its service in docker-compose.yml and k8s/overlays/staging.
_SIMULATOR_HOSTS: Final = ("operators", "operator-simulator")
SIMULATOR_ALLOWED: Final = "allowed"
_FALSE: Final = ("0", "no", "off", "false", "f", "n")


def unsafe_settings(config: Config) -> Iterator[Problem]:
    """Yield a problem for each unsafe setting of a production or staging deployment."""
    if config.callback.allow_private == "true":
        yield _unsafe(
            "CALLBACK_ALLOW_PRIVATE is true: customers could make the gateway call addresses of its own network.",
            "Remove it, or set even-deployed if you intend this here.",
            id="E004",
        )
    if config.api.keys in ("off", "optional"):
        yield _unsafe(
            f"API_KEYS is {config.api.keys}: anybody who reaches the API could send as every customer.",
            f"Set required, or {config.api.keys}-because-private if only you can reach it.",
        )
    if "*" in config.http.allowed_hosts:
        yield _unsafe(
            "HTTP_ALLOWED_HOSTS is *: requests addressed to any host name would be answered.",
            "Set the host names that clients use, comma separated.",
        )
    yield from _archive(config)
    yield from _unverified(config)
    if config.operators.simulator != SIMULATOR_ALLOWED:
        yield from _simulators(config)
    if config.kafka.security_protocol.startswith("SASL") and not (
        config.kafka.sasl_username and config.kafka.sasl_password
    ):
        yield _unsafe(
            f"KAFKA_SECURITY_PROTOCOL is {config.kafka.security_protocol}, but the login is incomplete.",
            "Set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD (or KAFKA_SASL_PASSWORD_FILE).",
        )


def _archive(config: Config) -> Iterator[Problem]:
    kept = {
        "MESSAGES": config.partitions.messages_keep_days,
        "STATUSES": config.partitions.statuses_keep_days,
        "LEDGER": config.partitions.ledger_keep_days,
        "SUBMITS": config.partitions.submits_keep_days,
    }
    ended = [f"PARTITION_{name}_KEEP_DAYS" for name, days in kept.items() if days]
    if ended and not config.partitions.archive:
        yield _unsafe(
            f"PARTITION_ARCHIVE is empty, but {', '.join(ended)} ask to archive: old partitions would stay and fill "
            "the disk.",
            "Set PARTITION_ARCHIVE to a folder on lasting storage or to s3://BUCKET/FOLDER, or these to 0.",
        )


def _unverified(config: Config) -> Iterator[Problem]:
    if config.admin.oidc_issuer.startswith("http:"):
        yield _unsafe(
            "ADMIN_OIDC_ISSUER begins with http: who can change traffic to the provider could log in as anybody.",
            "Set the provider's https URL.",
        )
    if _options(config.clickhouse.url).get("verify", "").lower() in _FALSE:
        yield _unsafe(
            "CLICKHOUSE_URL switches off the check of the server's certificate.",
            "Remove verify from it, and name your CA with ca_certs.",
        )
    options = _options(config.redis.url)
    if options.get("ssl_cert_reqs", "").lower() == "none" or options.get("ssl_check_hostname", "").lower() in _FALSE:
        yield _unsafe(
            "REDIS_URL switches off the check of the server's certificate.",
            "Remove ssl_cert_reqs and ssl_check_hostname from it, and name your CA with ssl_ca_certs.",
        )


def _options(url: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}


def _simulators(config: Config) -> Iterator[Problem]:
    urls = {"MCI": config.mci.url, "IRANCELL": config.irancell.url}
    urls |= {name.upper(): operator.url for name, operator in config.http_operators.items()}
    for name, url in urls.items():
        if _is_simulator(url):
            yield _unsafe(
                f"OPERATOR_{name}_URL leads to {_place(url)}, an operator simulator: no message would reach a phone.",
                f"Set the operator's own URL, or OPERATORS_SIMULATOR={SIMULATOR_ALLOWED} if this is a trial.",
            )
    for name, smpp in config.smpp_operators.items():
        if smpp.host in _SIMULATOR_HOSTS:
            yield _unsafe(
                f"OPERATOR_{name.upper()}_HOST is {smpp.host}, an operator simulator: no message would reach a phone.",
                f"Set the operator's own host, or OPERATORS_SIMULATOR={SIMULATOR_ALLOWED} if this is a trial.",
            )


def _place(url: str) -> str:
    """Host and port: the rest of the URL may hold a secret."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _is_simulator(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if host.partition(".")[0] in _SIMULATOR_HOSTS or "simulator" in host:
        return True
    return port == _SIMULATOR_PORT and _is_local(host)


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def _unsafe(message: str, hint: str, *, id: str = "E006") -> Problem:
    return Problem(f"smsgateway.{id}", message, hint)
