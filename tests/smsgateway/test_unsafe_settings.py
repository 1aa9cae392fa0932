"""What production and staging refuse at their start, and docs/explanation/security.md lists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from smsgateway import config
from tests.support.settings import DEPLOYED
from tests.support.tools import ROOT

PAGE = (ROOT / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([A-Z][^`]*)` \| `(smsgateway\.E[^`]*)` \|$", PAGE, re.MULTILINE)
GUNICORN = ("-m", "gunicorn", "-c", "python:smsgateway.gunicorn", "smsgateway.wsgi")


def given(text: str) -> dict[str, str]:
    """The settings of a row: `NAME=value`, several separated by a blank."""
    return dict(part.split("=", 1) for part in text.split(" "))


def loaded(environment: dict[str, str]) -> list[str]:
    return [str(problem) for problem in config.load(environment)[1]]


@pytest.mark.parametrize("environment", config.DEPLOYED)
def test_safe_settings_start(environment: str) -> None:
    assert loaded(DEPLOYED | {"ENVIRONMENT": environment}) == []


def test_the_page_has_a_row_for_each_kind() -> None:
    named = {name for text, _ in ROWS for name in given(text)}
    assert named >= {
        "SECRET_KEY",
        "API_KEYS",
        "HTTP_ALLOWED_HOSTS",
        "OPERATOR_MCI_URL",
        "OPERATOR_MCI_TOKEN",
        "PARTITION_ARCHIVE",
        "CALLBACK_ALLOW_PRIVATE",
        "DATABASE_URL",
        "REDIS_URL",
        "CLICKHOUSE_URL",
        "KAFKA_SECURITY_PROTOCOL",
    }


@pytest.mark.parametrize(("text", "line"), ROWS)
@pytest.mark.parametrize("environment", config.DEPLOYED)
def test_an_unsafe_setting_stops_the_start_with_the_line_of_the_page(text: str, line: str, environment: str) -> None:
    assert loaded(DEPLOYED | {"ENVIRONMENT": environment} | given(text)) == [line]


@pytest.mark.parametrize(("text", "line"), ROWS[:3])
@pytest.mark.parametrize("command", [("manage.py", "relay"), GUNICORN], ids=["command", "gunicorn"])
def test_the_processes_print_this_line_and_end(text: str, line: str, command: tuple[str, ...]) -> None:
    environ = {"PATH": os.environ["PATH"], "DEVSERVICES_DIR": "/nonexistent", "ENVIRONMENT": "production"}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=ROOT,
        env=environ | DEPLOYED | given(text),
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr.splitlines()) == (78, [line])


PLACEHOLDERS = (
    "replace-me",
    "REPLACE_ME_0123456789_REPLACE_ME_0123456789_REPLACE_ME",
    "development-only",
    "development-only-secret-key-that-protects-nothing-at-all",
    "changeme",
    "change-me-please-in-production-this-is-not-a-secret-at-all",
    "django-insecure-k3J8bQz8vWm2XrT9nLp5YcD7fHs4GaE6uRi1OwB0tZ",
    "<your secret key here, at least fifty characters long, please>",
    "a" * 60,
    "0123456789" * 6,
    "abababababababababababababababababababababababababababab",
)
TOKENS = ("SECRET_KEY", "OPERATOR_MCI_TOKEN", "OPERATOR_MCI_RECEIPT_TOKEN", "OPERATOR_IRANCELL_RECEIPT_SECRET")


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_placeholders_and_regular_texts_are_no_secrets(name: str, value: str) -> None:
    operator = {"OPERATOR_IRANCELL_URL": "https://irancell.example"} if "IRANCELL" in name else {}
    tokens = {"OPERATOR_IRANCELL_TOKEN": "Vb7-hQ2_xR9w", "OPERATOR_IRANCELL_RECEIPT_TOKEN": "mN4-pL8_yK3-tG6_zW"}
    found = config.load(
        DEPLOYED | operator | (tokens if operator else {}) | {"ENVIRONMENT": "production", name: value}
    )[1]
    assert [(problem.id, problem.message.split()[0]) for problem in found] == [("smsgateway.E005", name)]
    assert value not in "".join(map(str, found))
    assert config.load(DEPLOYED | {"ENVIRONMENT": "development", name: value + "x" * (50 - len(value))})[1] == []


@pytest.mark.parametrize("scheme", ["DATABASE_URL", "CLICKHOUSE_URL", "REDIS_URL"])
@pytest.mark.parametrize("password", ["replace-me", "changeme", "postgres", "aaaaaaaa"])
def test_passwords_in_urls_are_checked_too(scheme: str, password: str) -> None:
    url = {"DATABASE_URL": "postgres://u:{}@db/sms", "CLICKHOUSE_URL": "clickhouse://u:{}@ch:9000/sms"}
    value = url.get(scheme, "redis://:{}@redis:6379/0").format(password)
    (problem,) = config.load(DEPLOYED | {"ENVIRONMENT": "production", scheme: value})[1]
    assert problem.id == "smsgateway.E005"
    assert problem.message.startswith(f"{scheme} has a password that is ")


@pytest.mark.parametrize("value", ["off-because-private", "optional-because-private", "required"])
def test_an_open_api_must_be_confirmed(value: str) -> None:
    found, problems = config.load(DEPLOYED | {"ENVIRONMENT": "production", "API_KEYS": value})
    assert problems == []
    assert (found.api.ignores_keys, found.api.requires_keys) == (value.startswith("off"), value == "required")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8090",
        "http://localhost:8090/",
        "http://[::1]:8090",
        "http://operators:8090",
        "http://operators.smsgateway.svc:80",
        "https://mci-simulator.example",
    ],
)
def test_a_simulator_is_no_operator_unless_that_is_said(url: str) -> None:
    environment = DEPLOYED | {"ENVIRONMENT": "staging", "OPERATOR_MCI_URL": url}
    (line,) = loaded(environment)
    assert "an operator simulator: no message would reach a phone" in line
    assert loaded(environment | {"OPERATORS_SIMULATOR": "allowed"}) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:15001", "https://mci.example:8090"])
def test_an_operator_behind_a_local_proxy_is_none(url: str) -> None:
    assert loaded(DEPLOYED | {"ENVIRONMENT": "production", "OPERATOR_MCI_URL": url}) == []


def test_no_operator_is_mandatory() -> None:
    without = {name: value for name, value in DEPLOYED.items() if not name.startswith("OPERATOR_")}
    found, problems = config.load(without | {"ENVIRONMENT": "production"})
    assert problems == []
    assert (found.mci.url, found.irancell.url, found.routing.default) == ("", "", "")


def test_an_operator_is_complete_or_absent() -> None:
    without = {name: value for name, value in DEPLOYED.items() if not name.startswith("OPERATOR_")}
    deployed = without | {"ENVIRONMENT": "production"}
    messages = [
        problem.message for problem in config.load(deployed | {"OPERATOR_IRANCELL_URL": "https://i.example"})[1]
    ]
    assert messages == ["OPERATOR_IRANCELL_TOKEN is not set.", "OPERATOR_IRANCELL_RECEIPT_TOKEN is not set."]
    (problem,) = config.load(deployed | {"OPERATOR_IRANCELL_TOKEN": "Vb7-hQ2_xR9w"})[1]
    assert problem.message == "OPERATOR_IRANCELL_URL is not set, but OPERATOR_IRANCELL_TOKEN is."


def test_the_first_operator_is_the_default_one() -> None:
    shatel = {
        "OPERATORS_SMPP": "shatel",
        "OPERATOR_SHATEL_HOST": "smsc.example",
        "OPERATOR_SHATEL_SYSTEM_ID": "gateway",
        "OPERATOR_SHATEL_PASSWORD": "q8Lw2-x",
    }
    without = {name: value for name, value in DEPLOYED.items() if not name.startswith("OPERATOR_")}
    found, problems = config.load(without | shatel | {"ENVIRONMENT": "production"})
    assert problems == []
    assert found.routing.default == "shatel"


@pytest.mark.parametrize("folder", [Path("/archive"), "s3://bucket/folder"])
def test_an_archive_or_keeping_everything_satisfies_the_check(folder: object) -> None:
    deployed = DEPLOYED | {"ENVIRONMENT": "production"}
    assert loaded(deployed | {"PARTITION_ARCHIVE": str(folder)}) == []
    kept = {f"PARTITION_{name}_KEEP_DAYS": "0" for name in ("MESSAGES", "STATUSES", "LEDGER", "SUBMITS")}
    assert loaded(deployed | {"PARTITION_ARCHIVE": ""} | kept) == []


def test_a_provider_without_tls_is_refused() -> None:
    given = {"ADMIN_OIDC_ISSUER": "http://id.example", "ADMIN_OIDC_CLIENT_ID": "gateway"}
    given |= {"ADMIN_OIDC_CLIENT_SECRET": "q7Vx-2LmP9_zRt4Kd8-wNc3"}
    (line,) = loaded(DEPLOYED | given | {"ENVIRONMENT": "production"})
    assert line.startswith("smsgateway.E006: ADMIN_OIDC_ISSUER begins with http: ")
    assert loaded(DEPLOYED | given | {"ENVIRONMENT": "production", "ADMIN_OIDC_ISSUER": "https://id.example"}) == []
