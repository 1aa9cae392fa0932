"""Loopback ports, chosen once and used again at the next start."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import tempfile
import time
from pathlib import Path
from typing import Final

from apps.devservices.processes import read_text, write_atomically

HOST: Final = "127.0.0.1"
# Below the ports that Linux gives to outgoing connections (from 32768): one of those could take a port between our
# choice and the start of the server.
_CANDIDATES: Final = range(12_000, 32_000)
# For the same reason, a port that one process has chosen is not chosen by another for so long.
_CHOSEN_SECONDS: Final = 120
_TRIES: Final = 1000


def remembered_ports(file: Path, *, count: int) -> list[int]:
    """`count` free ports: those recorded in `file` if they are still free, or else new ones, which are recorded
    there."""
    ports = [int(port) for port in (read_text(file) or "").split()]
    try:
        if len(ports) == count:
            return _reserve(ports)
    except OSError:
        pass  # another process took one
    ports = _choose(count)
    write_atomically(file, " ".join(map(str, ports)) + "\n")
    return ports


def _choose(count: int) -> list[int]:
    """Ports that are free, and that no other process has just chosen."""
    ports: list[int] = []
    # Not seeded: tests that seed `random` alike in several processes must not try the same ports.
    for port in random.SystemRandom().sample(_CANDIDATES, _TRIES):
        with contextlib.suppress(OSError):
            _reserve([port])
            if _is_first_to_choose(port):
                ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError(f"no {count} of {_TRIES} tried ports were free")


def _is_first_to_choose(port: int) -> bool:
    """Record the choice where all processes of this user look."""
    folder = Path(tempfile.gettempdir()) / f"smsgateway-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    record = folder / str(port)
    try:
        if time.time() - record.stat().st_mtime < _CHOSEN_SECONDS:
            return False
        record.unlink()
    except FileNotFoundError:
        pass
    try:
        record.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _reserve(ports: list[int]) -> list[int]:
    """Check that these ports can be bound together; return them."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            bound = stack.enter_context(socket.socket())
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((HOST, port))
    return ports
