"""Settings: declared, read, and wrong ones reported in one line each before anything starts."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from smsgateway import config
from smsgateway.config.load import BUILT_IN
from tests.support.settings import COMPLETE, DEPLOYED, run
from tests.support.tools import ROOT

GUNICORN = ("-m", "gunicorn", "-c", "python:smsgateway.gunicorn", "smsgateway.wsgi")


def test_values_are_read_with_their_types() -> None:
    found, problems = config.load(
        COMPLETE | {"WORKER_RETRY_BASE": "0.25", "HTTP_PORT": "9000", "LOG_LEVEL": "debug", "WORKER_MAX_RETRIES": "0"}
    )
    assert problems == []
    assert found.kafka.brokers == ["a:9092", "b:9092"]
    assert (found.worker.retry_base, found.http.port, found.worker.max_retries) == (0.25, 9000, 0)
    assert found.sms.max_batch == 10_000


@pytest.mark.parametrize(
    ("name", "value", "id", "expected"),
    [
        ("DATABASE_URL", "", "smsgateway.E001", "DATABASE_URL is not set."),
        ("DATABASE_URL", "mysql://u@h/d", "smsgateway.E003", "DATABASE_URL does not have the required form."),
        ("KAFKA_BROKERS", "a", "smsgateway.E003", "KAFKA_BROKERS does not have the required form."),
        ("HTTP_PORT", "eighty", "smsgateway.E002", "HTTP_PORT is 'eighty', which is not a whole number."),
        ("HTTP_PORT", "70000", "smsgateway.E003", "HTTP_PORT is 70000, not between 0 and 65535."),
        ("LOG_LEVEL", "loud", "smsgateway.E003", "LOG_LEVEL is 'loud', not one of debug, info, warning, error."),
        (
            "WORKER_RETRY_BASE",
            "soon",
            "smsgateway.E002",
            "WORKER_RETRY_BASE is 'soon', which is not a number of seconds or a duration such as 500ms, 30s, 15m, 72h, "
            "7d.",
        ),
        (
            "OPERATOR_MCI_RECEIPT_IPS",
            "10.0.0.0/8, 10.0.0.1/8",
            "smsgateway.E003",
            "OPERATOR_MCI_RECEIPT_IPS is wrong: 10.0.0.1/8 has host bits set.",
        ),
        (
            "SMS_MOBILE_PREFIXES",
            "98997,0998",
            "smsgateway.E003",
            "SMS_MOBILE_PREFIXES is wrong: '0998' is not a prefix of E.164 digits without the plus, such as 98912.",
        ),
        (
            "SMS_MOBILE_PREFIXES",
            "98",
            "smsgateway.E003",
            "SMS_MOBILE_PREFIXES is wrong: 98 must be longer than the calling code 98 and shorter than a number.",
        ),
        (
            "SMS_MOBILE_PREFIXES",
            "21012",
            "smsgateway.E003",
            "SMS_MOBILE_PREFIXES is wrong: no country has the calling code that 21012 begins with.",
        ),
        ("WORKER_QUEUE_SIZE", "0", "smsgateway.E003", "WORKER_QUEUE_SIZE is 0, not between 1 and 15000."),
    ],
)
def test_a_wrong_value_is_reported_with_its_id_and_a_hint(name: str, value: str, id: str, expected: str) -> None:
    _, problems = config.load(COMPLETE | {name: value})
    [problem] = problems
    assert (problem.id, problem.message) == (id, expected)
    assert name in problem.hint


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RECEIPT_WAIT", "72", 72),
        ("RECEIPT_WAIT", "72h", 72),
        ("RECEIPT_WAIT", "3d", 72),
        ("SMS_VALIDITY", "48h", 172_800),
        ("SMS_VALIDITY", "90 min", 5400),
        ("DATABASE_LOCK_TIMEOUT", "5s", 5000),
        ("DATABASE_LOCK_TIMEOUT", "250ms", 250),
        ("WORKER_RETRY_BASE", "250ms", 0.25),
        ("WORKER_RETRY_BASE", "1.5m", 90.0),
        ("KAFKA_RETENTION_DAYS", "240h", 10),
        ("CALLBACK_RETRY_DELAYS", "5s, 2m,1h", ["5", "120", "3600"]),
    ],
)
def test_a_duration_may_carry_its_unit(name: str, value: str, expected: object) -> None:
    found, problems = config.load(COMPLETE | {name: value})
    assert problems == []
    attribute, group = next(
        (attribute, group) for attribute, group, known, _, _ in config.declarations() if known == name
    )
    assert getattr(getattr(found, attribute), name.removeprefix(group.prefix).lower()) == expected


@pytest.mark.parametrize(
    ("name", "value", "id"),
    [
        ("RECEIPT_WAIT", "90m", "E002"),  # no whole number of hours
        ("RECEIPT_WAIT", "72 hours", "E002"),
        ("RECEIPT_WAIT", "-72h", "E002"),
        ("RECEIPT_WAIT", "1h30m", "E002"),
        ("RECEIPT_WAIT", "31d", "E003"),
        ("HTTP_PORT", "80s", "E002"),  # no duration
        ("CALLBACK_RETRY_DELAYS", "5s,soon", "E003"),
    ],
)
def test_a_wrong_duration_is_reported(name: str, value: str, id: str) -> None:
    (problem,) = config.load(COMPLETE | {name: value})[1]
    assert (problem.id, problem.message.split()[0]) == (f"smsgateway.{id}", name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ENVIROMENT", "Did you mean ENVIRONMENT?"),
        ("HTTP_PROT", "Did you mean HTTP_PORT?"),
        ("WORKER_CONCURENCY", "Did you mean WORKER_CONCURRENCY?"),
        ("OPERATOR_SHATEL_RECIEPT_IDS", "Did you mean OPERATOR_SHATEL_RECEIPT_IDS?"),
        ("OPERATOR_SHATL_HOST", "Did you mean OPERATOR_SHATEL_HOST?"),
        ("OPERATOR_TALIYA_RECEIPT_IDS", "OPERATORS_HTTP and OPERATORS_SMPP do not name 'taliya'."),
        ("SECRET_KEY_FIL", "Did you mean SECRET_KEY_FILE?"),
    ],
)
def test_a_misspelt_setting_is_warned_about_with_the_nearest_name(name: str, hint: str) -> None:
    (warning,) = config.warnings(COMPLETE | OPERATORS | {name: "x"})
    assert str(warning) == f"smsgateway.W001: {name} is not a setting and has no effect. {hint}"


@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "KAFKA_HEAP_OPTS", "REDIS_PORT_6379_TCP_ADDR", "API_SERVICE_HOST", "PATH", "SERVICE_NAME"]
)
def test_variables_of_other_programs_are_left_alone(name: str) -> None:
    assert config.warnings(COMPLETE | OPERATORS | {name: "x"}) == []


def test_every_setting_is_known_with_its_file() -> None:
    named = {name: "x" for _, _, name, _, _ in config.declarations()} | {"DATABASE_URL_FILE": "/x"}
    assert config.warnings(named) == []


def test_a_misspelt_setting_does_not_stop_the_start_and_is_named_once() -> None:
    ended = run("manage.py", "migrate", "--plan", **COMPLETE, HTTP_PROT="1")
    assert ended.stderr.count("HTTP_PROT") == 1
    assert "PostgreSQL does not answer" in ended.stderr


def test_all_wrong_values_are_reported_at_once() -> None:
    _, problems = config.load({"HTTP_PORT": "x"})
    assert len(problems) == 4


def test_production_requires_its_secrets() -> None:
    _, problems = config.load(COMPLETE | {"ENVIRONMENT": "production"})
    named = {problem.message.split()[0] for problem in problems}
    assert {"SECRET_KEY", "HTTP_ALLOWED_HOSTS", "API_KEYS", "PARTITION_ARCHIVE"} == named


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"KAFKA_RETENTION_DAYS": "7"}, "KAFKA_RETENTION_DAYS is 7, less than the 8.0 days"),
        ({"SMS_VALIDITY": "1209600"}, "KAFKA_RETENTION_DAYS is 10, less than the 15.0 days"),
        ({"SMS_VALIDITY": "1209600", "KAFKA_RETENTION_DAYS": "16"}, ""),
        ({"WORKER_RETRY_CAP": "86400", "KAFKA_RETENTION_DAYS": "9"}, ""),
        ({"KAFKA_DEAD_LETTER_RETENTION_DAYS": "9"}, "KAFKA_DEAD_LETTER_RETENTION_DAYS is 9, less than KAFKA_RET"),
    ],
)
def test_topics_keep_events_longer_than_messages_may_wait(given: dict[str, str], expected: str) -> None:
    _, problems = config.load(COMPLETE | given)
    assert [problem.id for problem in problems] == (["smsgateway.E003"] if expected else [])
    assert all(problem.message.startswith(expected) for problem in problems)


@pytest.mark.parametrize("environment", ["production", "staging", "development"])
@pytest.mark.parametrize("value", ["", "false", "true", "even-deployed"])
def test_private_callbacks_must_be_confirmed_in_production_and_staging(environment: str, value: str) -> None:
    given = DEPLOYED | {"ENVIRONMENT": environment, "CALLBACK_ALLOW_PRIVATE": value}
    found, problems = config.load(given)
    assert found.callback.private == (value in ("true", "even-deployed"))
    refused = value == "true" and environment != "development"
    assert [problem.id for problem in problems] == (["smsgateway.E004"] if refused else [])


def test_a_start_with_unconfirmed_private_callbacks_ends_with_one_line() -> None:
    given = DEPLOYED | {"ENVIRONMENT": "production", "CALLBACK_ALLOW_PRIVATE": "true", "SERVICE": "api"}
    for command in (("manage.py", "callbacks"), GUNICORN):
        done = subprocess.run([sys.executable, *command], cwd=ROOT, env=given, capture_output=True, text=True)
        (line,) = done.stderr.splitlines()
        assert (done.returncode, line.split()[:2]) == (78, ["smsgateway.E004:", "CALLBACK_ALLOW_PRIVATE"])


OPERATORS = {
    "OPERATORS_HTTP": "rightel",
    "OPERATOR_RIGHTEL_URL": "https://sms.example/send",
    "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "long-enough",
    "OPERATORS_SMPP": "shatel, pars",
    "OPERATOR_SHATEL_HOST": "smsc.example",
    "OPERATOR_SHATEL_SYSTEM_ID": "gateway",
    "OPERATOR_SHATEL_PASSWORD": "secret",
    "OPERATOR_SHATEL_IN_FLIGHT": "20",
    "OPERATOR_PARS_HOST": "pars.example",
    "OPERATOR_PARS_SYSTEM_ID": "gateway",
    "OPERATOR_PARS_PASSWORD": "secret",
    "OPERATOR_DEFAULT": "pars",
}


def test_operators_are_named_by_settings() -> None:
    found, problems = config.load(COMPLETE | OPERATORS)
    assert problems == []
    assert list(found.http_operators) == ["rightel"]
    assert {name: one.host for name, one in found.smpp_operators.items()} == {
        "shatel": "smsc.example",
        "pars": "pars.example",
    }
    assert (found.smpp_operators["shatel"].in_flight, found.smpp_operators["pars"].in_flight) == (20, 10)
    assert found.routing.default == "pars"


@pytest.mark.parametrize(
    ("name", "value", "id", "expected"),
    [
        ("OPERATORS_SMPP", "shatel,pars,mci", "E003", "OPERATORS_SMPP names 'mci', which is taken."),
        ("OPERATORS_SMPP", "shatel,pars,rightel", "E003", "OPERATORS_SMPP names 'rightel', which is taken."),
        ("OPERATORS_HTTP", "Right_Tel", "E003", "OPERATORS_HTTP does not have the required form."),
        (
            "OPERATOR_DEFAULT",
            "nobody",
            "E003",
            f"OPERATOR_DEFAULT is 'nobody', not one of {', '.join(BUILT_IN)}, rightel, shatel, pars.",
        ),
        ("OPERATOR_SHATEL_HOST", "", "E001", "OPERATOR_SHATEL_HOST is not set."),
        ("OPERATOR_SHATEL_PORT", "x", "E002", "OPERATOR_SHATEL_PORT is 'x', which is not a whole number."),
        (
            "OPERATOR_SHATEL_PASSWORD",
            "too long for it",
            "E003",
            "OPERATOR_SHATEL_PASSWORD does not have the required form.",
        ),
        ("OPERATOR_SHATEL_RECEIPT_ZONE", "Mars/Base", "E003", None),
        ("OPERATOR_SHATEL_TLS_CA_FILE", "/no/such/file", "E003", None),
        ("OPERATOR_RIGHTEL_BODY", "to={recipient}", "E003", None),
        ("OPERATOR_RIGHTEL_BODY", '{"to": "{phone}"}', "E003", None),
        ("OPERATOR_RIGHTEL_URL", "https://sms.example/{phone}", "E003", None),
        ("OPERATOR_RIGHTEL_HEADERS", "X-Key: 1", "E003", None),
        ("OPERATOR_RIGHTEL_HEADERS", '{"X Key": "1"}', "E003", None),
        ("OPERATOR_RIGHTEL_RECEIPT_STATUSES", "DELIVRD=fine", "E003", None),
    ],
)
def test_a_wrong_operator_setting_is_reported(name: str, value: str, id: str, expected: str | None) -> None:
    _, problems = config.load(COMPLETE | OPERATORS | {name: value})
    problem = problems[0]
    assert (problem.id, problem.message.split()[0]) == (f"smsgateway.{id}", name)
    assert expected in (None, problem.message)


def test_a_wrong_secret_is_not_shown() -> None:
    _, problems = config.load(COMPLETE | {"SECRET_KEY": "hunter2", "DATABASE_URL": "hunter2"})
    assert problems
    assert "hunter2" not in "".join(map(str, problems))


@pytest.mark.parametrize(
    "command",
    [("manage.py", "relay"), GUNICORN],
    ids=["command", "gunicorn"],
)
def test_a_wrong_setting_stops_the_start_with_one_line_each(command: tuple[str, ...]) -> None:
    ended = run(*command, **{**COMPLETE, "HTTP_PORT": "x", "KAFKA_BROKERS": ""})
    lines = ended.stderr.strip().splitlines()
    assert ended.returncode == 78
    assert [line.split(":")[0] for line in lines] == ["smsgateway.E002", "smsgateway.E001"]


def test_the_system_checks_report_the_same_problems() -> None:
    ended = run("manage.py", "check", **{**COMPLETE, "HTTP_PORT": "x"})
    assert ended.returncode == 1
    assert "(smsgateway.E002) HTTP_PORT is 'x'" in ended.stderr
    assert "HINT: Set HTTP_PORT" in ended.stderr


def test_a_taken_port_is_reported_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("manage.py", "relay", **COMPLETE, METRICS_PORT=port)
        api = run(*GUNICORN, **COMPLETE, HTTP_PORT=port)
    assert (ended.returncode, api.returncode) == (1, 1)
    assert ended.stderr.strip() == (
        f"CommandError: relay: cannot listen on 127.0.0.1:{port} for metrics (Address already in use). "
        "Stop what uses the port or set METRICS_PORT."
    )
    assert api.stderr.strip() == (
        f"api: cannot listen on 127.0.0.1:{port} (Address already in use). Stop what uses the port or set HTTP_PORT."
    )


def test_an_unreachable_database_is_reported_in_one_line() -> None:
    ended = run("manage.py", "create_customer", "Shop", **COMPLETE | {"DATABASE_URL": "postgres://u:p@127.0.0.1:1/sms"})
    assert ended.returncode == 1
    [line] = ended.stderr.strip().splitlines()
    assert line.startswith("PostgreSQL does not answer: ")
    assert line.endswith("Start it, or set DATABASE_URL to where it is.")
