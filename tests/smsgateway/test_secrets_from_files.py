"""NAME_FILE: every secret can come from a file, as Docker and Kubernetes mount them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smsgateway import config
from tests.support.settings import COMPLETE, run

OPERATORS = {"OPERATORS_HTTP": "alfa", "OPERATORS_SMPP": "beta"}
VALUES = {
    "SECRET_KEY": "k3J-bQz8_vWm2XrT9-nLp5YcD7-fHs4GaE6-uRi1OwB0-tZqMjVx",
    "DATABASE_URL": "postgres://u:p@files/sms",
    "CLICKHOUSE_URL": "clickhouse://u:p@files:9000/sms",
    "REDIS_URL": "redis://files:6379/0",
    "OPERATOR_ALFA_RECEIPT_TOKEN": "$q8Lw2-xPz7.Rt5Kd9",
    "OPERATOR_ALFA_HEADERS": '{"X-Api-Key": "q8Lw"}',
    "OPERATOR_BETA_PASSWORD": "q8Lw2-x",
}


def secrets() -> list[str]:
    """The names of all secrets, with those of an operator of each kind."""
    named = [name for _, _, name, _, declared in config.declarations() if declared.is_secret]
    for operator, kind in (("alfa", config.HttpOperator), ("beta", config.SmppOperator)):
        named += [name for name, _, declared in config.operator_declarations(operator, kind) if declared.is_secret]
    return named


def value_of(found: config.Config, name: str) -> object:
    """The value of the setting with this name."""
    for attribute, _, declared, _, _ in config.declarations():
        if declared == name:
            group = getattr(found, attribute)
            return getattr(group, name.removeprefix(type(group).prefix).lower())
    operator, _, field = name.removeprefix("OPERATOR_").lower().partition("_")
    return getattr({**found.http_operators, **found.smpp_operators}[operator], field)


def test_every_setting_that_is_named_like_a_secret_is_one() -> None:
    named = {name for _, _, name, _, _ in config.declarations()}
    named |= {name for name, *_ in config.operator_declarations("alfa", config.HttpOperator)}
    named |= {name for name, *_ in config.operator_declarations("beta", config.SmppOperator)}
    looks = {name for name in named if name.endswith(("_SECRET", "_PASSWORD", "_TOKEN", "_KEY"))}
    looks |= {"DATABASE_URL", "CLICKHOUSE_URL", "REDIS_URL"}
    assert looks <= {*secrets()}
    assert len(looks) > 12


@pytest.mark.parametrize("name", secrets())
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_comes_from_its_file(tmp_path: Path, name: str, ending: str) -> None:
    value = VALUES.get(name, "$q8Lw2-xPz7.Rt5 Kd9")
    (tmp_path / "secret").write_bytes(f"{value}{ending}".encode())
    given = {key: text for key, text in (COMPLETE | OPERATORS).items() if key != name}
    found, problems = config.load(given | {f"{name}_FILE": str(tmp_path / "secret")})
    assert [problem for problem in problems if name in problem.message] == []
    assert value_of(found, name) == value


def test_a_file_and_a_value_are_refused_together(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgres://u:p@db/sms")
    (problem,) = config.load(COMPLETE | {"DATABASE_URL_FILE": str(tmp_path / "url")})[1]
    assert str(problem) == ("smsgateway.E007: DATABASE_URL and DATABASE_URL_FILE are both set. Keep one of the two.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"\n", "it is empty"),
        (b"a\x00b", "it is not a text file"),
        (b"\xff\xfe", "can't decode"),
        (b"x" * 70_000, "it is larger than 64 kB"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_problem(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    (problem,) = config.load(COMPLETE | {"ENVIRONMENT": "development", "SECRET_KEY_FILE": str(path)})[1]
    assert problem.id == "smsgateway.E007"
    assert reason in problem.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)
    (problem,) = config.load(COMPLETE | {"SECRET_KEY_FILE": str(tmp_path / "secret")})[1]
    assert "Permission denied" in problem.message


def test_a_missing_file_stops_the_start_with_one_line(tmp_path: Path) -> None:
    given = {name: value for name, value in COMPLETE.items() if name != "DATABASE_URL"}
    ended = run("manage.py", "relay", **given, DATABASE_URL_FILE=str(tmp_path / "none"))
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 78
    assert line.startswith("smsgateway.E007: DATABASE_URL_FILE is ")


def test_a_secret_may_begin_with_a_dollar() -> None:
    """django-environ took the rest for the name of another variable."""
    found, problems = config.load(COMPLETE | {"EMAIL_PASSWORD": "$SECRET_KEY"})
    assert problems == []
    assert found.email.password == "$SECRET_KEY"
