"""`.env.example` has every setting, as it is declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.make_env_example import render
from smsgateway import config

EXAMPLE = Path(__file__).parents[1] / ".env.example"
NEEDED = {
    "DATABASE_URL": "postgres://gateway@db:5432/gateway",
    "CLICKHOUSE_URL": "clickhouse://default@ch:9000/gateway",
    "KAFKA_BROKERS": "kafka:9092",
}


def test_the_example_is_what_the_declarations_say() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == render(), "run: python -m scripts.make_env_example > .env.example"


def test_every_default_of_the_example_is_accepted_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    uncommented = tmp_path / ".env"
    uncommented.write_text("\n".join(line[1:] for line in lines if line.startswith("#") and not line.startswith("# ")))

    environment: dict[str, str] = {}
    monkeypatch.setattr("environ.Env.ENVIRON", environment)
    config.read_files(uncommented)

    examples = [
        name
        for operator, kind in (("rightel", config.HttpOperator), ("shatel", config.SmppOperator))
        for name, _, _ in config.operator_declarations(operator, kind)
    ]
    assert len(environment) == len(list(config.declarations())) + len(examples)
    assert config.load(environment | NEEDED) == config.load(NEEDED)

    operators = {
        "OPERATORS_HTTP": "rightel",
        "OPERATOR_RIGHTEL_URL": "https://sms.example/send",
        "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "long-enough",
        "OPERATORS_SMPP": "shatel",
        "OPERATOR_SHATEL_HOST": "smsc.example",
        "OPERATOR_SHATEL_SYSTEM_ID": "gateway",
        "OPERATOR_SHATEL_PASSWORD": "secret",
    }
    found, problems = config.load(environment | NEEDED | operators)
    assert problems == []
    assert found == config.load(NEEDED | operators)[0]
