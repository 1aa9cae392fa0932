"""/metrics and /healthz of a worker answer although other peers keep silent."""

from __future__ import annotations

import dataclasses
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from smsgateway import process


@pytest.fixture
def address(settings: Any) -> Iterator[tuple[str, int]]:
    """Where a running process answers."""
    general = dataclasses.replace(settings.CONFIG.general, metrics_port=0)
    http = dataclasses.replace(settings.CONFIG.http, host="127.0.0.1")
    settings.CONFIG = dataclasses.replace(settings.CONFIG, general=general, http=http)
    server = process._serve_metrics(process.Process("relay"))
    yield ("127.0.0.1", server.server_port)
    server.shutdown()
    server.server_close()


def get(address: tuple[str, int], path: str) -> str:
    host, port = address
    with urllib.request.urlopen(f"http://{host}:{port}{path}") as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.timeout(60)  # it does not answer at all otherwise
@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost: a"], ids=["nothing", "half a request"])
@pytest.mark.parametrize("peers", [1, 200])
def test_silent_connections_block_nobody(address: tuple[str, int], said: bytes, peers: int) -> None:
    with ExitStack() as silent:
        for _ in range(peers):
            silent.enter_context(socket.create_connection(address)).sendall(said)
        assert get(address, "/healthz") == "ok\n"
        assert "process_start_time_seconds" in get(address, "/metrics")


@pytest.mark.timeout(60)
def test_at_the_limit_the_oldest_connection_is_closed(address: tuple[str, int]) -> None:
    from smsgateway.metrics_server import CONNECTIONS

    with ExitStack() as silent:
        first, *_ = [silent.enter_context(socket.create_connection(address)) for _ in range(CONNECTIONS + 1)]
        assert first.recv(1) == b""  # hung up


@pytest.mark.timeout(60)
def test_a_connection_that_sends_single_bytes_is_closed(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from smsgateway import metrics_server

    monkeypatch.setattr(metrics_server, "DEADLINE_SECONDS", 0.0)
    with socket.create_connection(address) as drip:
        drip.sendall(b"G")
        assert drip.recv(1) == b""
