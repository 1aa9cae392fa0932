"""Loopback ports, chosen once and used again at the next start."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Final

from apps.devservices.processes import read_text, write_atomically

HOST: Final = "127.0.0.1"


def remembered_ports(file: Path, *, count: int) -> list[int]:
    """`count` free ports: those recorded in `file` if they are still free, or else new ones, which are recorded
    there."""
    ports = [int(port) for port in (read_text(file) or "").split()]
    try:
        if len(ports) == count:
            return _reserve(ports)
    except OSError:
        pass  # another process took one
    ports = _reserve([0] * count)
    write_atomically(file, " ".join(map(str, ports)) + "\n")
    return ports


def _reserve(ports: list[int]) -> list[int]:
    """Check that these ports (0: any) can be bound together; return their numbers."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in ports]
        for bound, port in zip(sockets, ports, strict=True):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((HOST, port))
        return [bound.getsockname()[1] for bound in sockets]
