"""docs/reference/operators.md agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

from apps.sms import simulator
from apps.sms.operators.base import PermanentSubmitError, QueueFull, Throttled, TransientSubmitError
from apps.sms.operators.smpp import statuses
from apps.sms.simulator import behaviour
from smsgateway import config, metrics

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "operators.md").read_text(encoding="utf-8")
NEEDED = {
    "DATABASE_URL": "postgres://gateway@db:5432/gateway",
    "CLICKHOUSE_URL": "clickhouse://default@ch:9000/gateway",
    "KAFKA_BROKERS": "kafka:9092",
}


def test_its_examples_are_valid_settings() -> None:
    examples = [
        dict(line.split("=", 1) for line in block.splitlines()) for block in re.findall(r"```sh\n(.+?)```", PAGE, re.S)
    ]
    found = []
    for example in examples[1:]:
        loaded, problems = config.load(NEEDED | example)
        assert problems == []
        found += [*loaded.http_operators, *loaded.smpp_operators]
    assert found == ["rightel", "shatel"]


def test_its_command_statuses_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| ((?:0x|every other).+?) \|", PAGE, re.MULTILINE)
    throttling, full, permanent, of_the_operator, _ = rows
    meanings = statuses.Meanings(transient=[], permanent=[])
    for status in range(0x200):
        error = meanings.error(status)
        number = re.compile(rf"0x{status:02X}\b")
        assert isinstance(error, Throttled) == bool(number.search(throttling)), hex(status)
        assert isinstance(error, QueueFull) == bool(number.search(full)), hex(status)
        assert isinstance(error, PermanentSubmitError) == bool(number.search(permanent)), hex(status)
        if type(error) is TransientSubmitError:
            concerns = "operator" if number.search(of_the_operator) else "unclear"
            assert error.concerns == concerns, hex(status)


def test_its_magic_numbers_and_metrics_are_those_of_the_code() -> None:
    assert re.findall(r"^\| (\d{4}) \|", PAGE, re.MULTILINE) == list(behaviour._MAGIC)
    assert re.findall(r"^    (\d{4})  ", simulator.__doc__ or "", re.MULTILINE) == list(behaviour._MAGIC)
    declared = [name for name in vars(metrics) if name.startswith("SMPP_")]
    assert len(set(re.findall(r"`(smpp_\w+(?:_total)|smpp_bound)` ?", PAGE))) == len(declared)
