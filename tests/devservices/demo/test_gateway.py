"""Processes of the gateway as children: the errors when one is missing, ends, or finds its port taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from apps.devservices.gateway import OPERATOR_SIMULATOR, RELAY, Gateway
from apps.devservices.processes import PROJECT_ROOT, ServiceError, wait_until

PARENT = """
import os, sys
from pathlib import Path
from apps.devservices.gateway import OPERATOR_SIMULATOR, Gateway
gateway = Gateway(directory=Path(sys.argv[1]), environ=os.environ)
gateway.start(OPERATOR_SIMULATOR)
gateway.wait_ready()
print(gateway.pid(OPERATOR_SIMULATOR), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(directory=tmp_path, environ=os.environ) as made:
        yield made


def test_a_process_starts_answers_and_stops_cleanly(gateway: Gateway) -> None:
    gateway.start(OPERATOR_SIMULATOR)
    gateway.wait_ready()
    assert gateway.alive(OPERATOR_SIMULATOR)
    assert gateway.stop(OPERATOR_SIMULATOR) == 0
    assert not gateway.alive(OPERATOR_SIMULATOR)


def test_a_process_that_ends_by_itself_is_named_with_its_reason(tmp_path: Path) -> None:
    with Gateway(directory=tmp_path, environ={**os.environ, "KAFKA_PARTITIONS": "many"}) as gateway:
        gateway.start(RELAY)
        with pytest.raises(ServiceError, match=r"relay ended by itself.*KAFKA_PARTITIONS is 'many'"):
            gateway.wait_ready()


def test_a_taken_port_is_reported_before_the_process_starts(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", gateway.ports.operator_simulator)):
        with pytest.raises(ServiceError, match=f"operator_simulator: port {gateway.ports.operator_simulator} .* taken"):
            gateway.start(OPERATOR_SIMULATOR)
        assert not gateway.alive(OPERATOR_SIMULATOR)


def test_a_process_that_does_not_stop_is_killed_and_that_is_an_error(gateway: Gateway) -> None:
    gateway.start(OPERATOR_SIMULATOR)
    gateway.wait_ready()
    pid = gateway.pid(OPERATOR_SIMULATOR)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ServiceError, match="operator_simulator did not stop"):
        gateway.stop(OPERATOR_SIMULATOR, timeout=0.2)
    assert not psutil.pid_exists(pid)


def test_processes_end_with_their_parent_even_if_it_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, timeout=30)
