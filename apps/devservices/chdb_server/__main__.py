"""Runs the server: `python -m apps.devservices.chdb_server DATA --port PORT --database NAME`; SIGTERM ends it."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any, Final

import chdb

from apps.devservices.chdb_server.session import ClientSession
from apps.devservices.chdb_server.wire import ProtocolError
from apps.devservices.ports import HOST
from apps.devservices.processes import wait_until

GOODBYE_SECONDS: Final = 10.0


class Server(socketserver.ThreadingTCPServer):
    """Serves each client in a thread of its own; `path` is the engine's data folder."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, path: str, *, port: int) -> None:
        super().__init__((HOST, port), Client)
        self.path = path
        self.clients: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.clients.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.clients.discard(request)

    def hang_up(self) -> bool:
        """End every client's connection. Returns True if all ended in time."""
        for client in list(self.clients):
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client left by itself
        return wait_until(lambda: not self.clients, timeout=GOODBYE_SECONDS)


class Client(socketserver.BaseRequestHandler):
    server: Server

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.session = ClientSession(self.request, path=self.server.path)

    def handle(self) -> None:
        try:
            self.session.serve()
        except ProtocolError as error:
            sys.stderr.write(f"{self.client_address}: {error}\n")

    def finish(self) -> None:
        self.session.close()


def serve(data: Path, *, port: int, database: str) -> None:
    """Serve until SIGTERM."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the engine starts its threads, which inherit it
    data.mkdir(parents=True, exist_ok=True)
    engine = chdb.connect(str(data))  # stays open: the engine ends with its last connection
    engine.query(f"CREATE DATABASE IF NOT EXISTS {database}")
    with Server(str(data), port=port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        signal.sigwait(signals)
        server.shutdown()
        engine.query("KILL QUERY WHERE query_id != queryID() ASYNC")
        all_gone = server.hang_up()
    if not all_gone:
        os._exit(1)  # a query that does not end; its thread holds the engine
    engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=serve.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    arguments = parser.parse_args()
    serve(arguments.data, port=arguments.port, database=arguments.database)
