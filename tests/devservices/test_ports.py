"""Ports for services: free, outside the range of outgoing connections, and chosen by one process alone."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from apps.devservices.ports import HOST, remembered_ports

CHOOSE = """
import pathlib, sys
from apps.devservices.ports import remembered_ports
print(*remembered_ports(pathlib.Path(sys.argv[1]), count=50))
"""


def test_processes_that_choose_at_the_same_time_get_different_ports(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", CHOOSE, str(tmp_path / str(number))] for number in range(3)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    ports = [int(port) for process in processes for port in process.communicate()[0].split()]
    assert len(ports) == len(set(ports)) == 150
    assert max(ports) < 32_768, "Linux gives the ports above to outgoing connections"


def test_the_same_ports_are_used_again_unless_one_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "ports"
    ports = remembered_ports(file, count=3)
    assert remembered_ports(file, count=3) == ports
    with socket.create_server((HOST, ports[1])):
        others = remembered_ports(file, count=3)
    assert ports[1] not in others
