"""`manage.py operator_simulator` as a process."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.operators import control, message, summary
from tests.support.smpp import SETTINGS, bound, connected, outcome

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {
    **os.environ,
    "DATABASE_URL": "postgres://nobody@localhost/unused",
    "CLICKHOUSE_URL": "clickhouse://localhost:1/unused",
    "KAFKA_BROKERS": "localhost:1",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "json",
    "METRICS_PORT": "0",
}


@contextmanager
def started(*flags: str, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "manage.py", "operator_simulator", *flags]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=ENVIRONMENT | dict(environment or {}),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def port_of(process: subprocess.Popen[str]) -> int:
    """The port in the log line `listening`."""
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "listening":
            return int(event["port"])
    raise AssertionError("the simulator ended before it listened")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_asked_to_stop_and_ends_cleanly(number: int) -> None:
    with started("--port", "0", "--rejection-rate", "0.25", "--receipt-delay", "1", "2") as process:
        url = f"http://127.0.0.1:{port_of(process)}/control/behaviour"
        with urllib.request.urlopen(url, data=b"{}") as answer:
            behaviour = json.load(answer)
        process.send_signal(number)
        _, rest = process.communicate()
        assert process.returncode == 0
    assert behaviour["irancell"]["rejection_rate"] == 0.25
    assert behaviour["mci"]["receipt_delay"] == [1, 2]
    assert "process_stopped" in rest
    assert "Traceback" not in rest


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started("--port", str(port)) as process:
            _, said = process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "--port" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("flags", [["--hang-rate", "2"], ["--answer-delay", "9", "1"], ["--hang-rate", "often"]])
def test_a_wrong_flag_is_one_clear_line(flags: list[str]) -> None:
    with started("--port", "0", *flags) as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert said.startswith("CommandError: operator_simulator: ")
    assert len(said.strip().splitlines()) == 1


SMPP = {"OPERATORS_SMPP": "shatel", "OPERATOR_SHATEL_HOST": "127.0.0.1"} | {
    "OPERATOR_SHATEL_SYSTEM_ID": "gateway",
    "OPERATOR_SHATEL_PASSWORD": "secret",
}


def test_it_speaks_smpp_on_a_port_of_its_own_and_misbehaves_when_told() -> None:
    with started("--port", "0", "--smpp-port", "0", environment=SMPP) as process:
        assert process.stderr is not None
        ports = {}
        while len(ports) < 2:
            event = json.loads(process.stderr.readline())
            if event["event"] in ("listening", "smpp_listening"):
                ports[event["event"]] = event["port"]

        async def scenario() -> None:
            settings = dataclasses.replace(SETTINGS, port=ports["smpp_listening"])
            url = f"http://127.0.0.1:{ports['listening']}"
            async with bound(settings) as client:
                assert await outcome(client, message("+989125550003")) == "PermanentSubmitError ESME_RINVDSTADR"
                assert (await summary(url, "shatel"))["rejected"] == 1
                assert await control(url, "smpp", {"do": "unbind"}) == (204, None)
                await connected(client, False)
                await connected(client)
                status, answer = await control(url, "smpp", {"do": "dance"})
                assert (status, answer) == (400, {"error": "do is unbind, drop, silence or speak"})

        asyncio.run(scenario())


def test_smpp_without_an_operator_and_a_taken_smpp_port_are_one_clear_line_each() -> None:
    with started("--port", "0", "--smpp-port", "0") as process:
        _, said = process.communicate()
    assert (process.returncode, len(said.strip().splitlines())) == (1, 1)
    assert "OPERATORS_SMPP" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started("--port", "0", "--smpp-port", str(port), environment=SMPP) as process:
            _, said = process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "--smpp-port" in said
    assert "Traceback" not in said
