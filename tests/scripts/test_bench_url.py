"""scripts/benchmark.sh against a deployment: it spends money only if asked to, and only on the numbers it was given."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scripts import bench_url

CUSTOMER = "01M85WEX1V5DRSABARX08QE0G2"
NUMBER = "+989121234567"


class Deployment:
    """Answers like the API, and keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.refusal: int | None = None
        deployment = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == f"/v1/customers/{CUSTOMER}/balance"
                self.reply(200, {"balance": 1_000_000 - 100 * len(deployment.sent)})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if deployment.refusal:
                    self.reply(deployment.refusal, {"code": "sender_refused"})
                    return
                deployment.keys.add(self.headers["Authorization"])
                deployment.sent += body.get("messages", [body])
                self.reply(200, {"id": "x"})

            def reply(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    running = Deployment()
    thread = threading.Thread(target=running.server.serve_forever)
    thread.start()
    yield running
    running.server.shutdown()
    thread.join()
    running.server.server_close()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("SMS_CUSTOMER", CUSTOMER)
    monkeypatch.setenv("SMS_KEY", "secret")
    monkeypatch.setattr(sys, "argv", ["benchmark.sh", *arguments])
    return bench_url.main()


def test_nothing_is_sent_without_the_flag(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, deployment.url, "--to", NUMBER) == 2
    assert deployment.sent == []
    said = capsys.readouterr().err
    assert "nothing was sent" in said
    assert "balance 1,000,000" in said
    assert "--spend-money" in said


def test_numbers_must_be_given(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, deployment.url, "--spend-money")
    assert deployment.sent == []


def test_a_refusal_ends_it_with_the_reason(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.refusal = 422
    with pytest.raises(bench_url.ServiceError, match=r"422 .*sender_refused"):
        run(monkeypatch, deployment.url, "--to", NUMBER, "--spend-money")


def test_the_help_says_that_messages_are_real(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--help")
    assert "EVERY MESSAGE IS REAL" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is missing")
def test_messages_go_to_the_given_numbers_only(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = [NUMBER, "+989127654321"]
    options = ["--seconds", "1", "--connections", "2", "--batch", "10", "--cases", "send", "batch"]
    assert run(monkeypatch, deployment.url, "--to", *numbers, "--spend-money", *options) == 0
    assert {message["to"] for message in deployment.sent} == set(numbers)
    assert deployment.keys == {"Bearer secret"}
    header, send, batch, balance = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["case", "connections"]
    assert (send.split()[0], batch.split()[0]) == ("send", "batch")
    assert balance.startswith("balance: 1,000,000 before, ")
