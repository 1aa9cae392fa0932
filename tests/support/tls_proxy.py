"""A server that terminates TLS, in front of one that speaks none."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.support.certificates import Certificate

_CHUNK: Final = 65_536


@contextmanager
def tls_in_front(address: tuple[str, int], certificate: Certificate) -> Iterator[int]:
    """Serve on loopback with this certificate until the block ends, and pass everything on; the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = certificate.context
    opened: list[socket.socket] = [listener]

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # the block has ended
                return
            opened.append(client)
            threading.Thread(target=serve, args=[client], daemon=True).start()

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            inside = context.wrap_socket(client, server_side=True)
            target = socket.create_connection(address)
            opened.extend((inside, target))
            threading.Thread(target=pass_on, args=[target, inside], daemon=True).start()
            pass_on(inside, target)

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := source.recv(_CHUNK):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for one in opened:
            one.close()
        thread.join()
