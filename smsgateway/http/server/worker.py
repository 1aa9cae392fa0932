"""The gunicorn worker: an event loop that accepts connections, reports to gunicorn that it lives, and stops cleanly.

It builds on gunicorn's public base class for workers only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from typing import Any, Final

import structlog
import uvloop
from gunicorn.workers.base import Worker

from smsgateway.http import pools
from smsgateway.http.server.service import Limits, Service
from smsgateway.settings import CONFIG

log = structlog.get_logger(__name__)

# File descriptors for everything but clients.
_OTHER_FILES: Final = 128
# How long to accept nobody when the process has no file descriptor left.
_PAUSE_SECONDS: Final = 1.0
# A thread that waited for the database takes the interpreter from the loop no later than this.
_SWITCH_SECONDS: Final = 0.001
_CHECK_SECONDS: Final = 1.0
# The kernel would take megabytes of answers for a client that reads none of them.
_SEND_BUFFER: Final = 131_072


class LoopWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves the application on an event loop (see `smsgateway.http.server`)."""

    service: Service
    runs_on_loop = True

    def init_process(self) -> None:
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._stop = asyncio.Event()
        self._is_hurried = False
        sys.setswitchinterval(_SWITCH_SECONDS)
        super().init_process()

    def init_signals(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self.loop.add_signal_handler(signal.SIGTERM, self.stop)
        for number in (signal.SIGINT, signal.SIGQUIT):
            self.loop.add_signal_handler(number, self._stop_at_once)
        self.loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        self.loop.add_signal_handler(signal.SIGWINCH, lambda: None)
        signal.signal(signal.SIGABRT, self.handle_abort)  # also while the loop hangs

    def stop(self) -> None:
        """Answer the requests that have begun, then end."""
        self.alive = False
        self._stop.set()

    def _stop_at_once(self) -> None:
        self.cfg.worker_int(self)
        self._is_hurried = True
        self.stop()

    def run(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self.loop.close()

    async def _serve(self) -> None:
        config = CONFIG.http
        threads = pools.Pools(threads=self.cfg.threads, exports=CONFIG.reporting.exports_at_once)
        limits = Limits(
            max_body_bytes=config.max_body_bytes,
            connections=min(config.connections, _allow_files(config.connections + _OTHER_FILES) - _OTHER_FILES),
            connections_per_address=config.connections_per_address,
            keep_alive_seconds=self.cfg.keepalive,
            max_wait_seconds=config.max_wait / 1000,
            proxies=frozenset(self.cfg.forwarded_allow_ips),
        )
        self.service = Service(
            self.wsgi,
            loop=self.loop,
            limits=limits,
            threads=threads,
            environ=_common_environ(self.cfg),
            runs_on_loop=self.runs_on_loop,
        )
        listeners = [listener.sock if hasattr(listener, "sock") else listener for listener in self.sockets]
        for listener in listeners:
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)  # which clients' sockets inherit
            self.loop.add_reader(listener, self._accept, listener)
        while not self._stop.is_set() and self.is_parent_alive():
            self.notify()
            self.service.check()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _CHECK_SECONDS)
        for listener in listeners:
            self.loop.remove_reader(listener)
        await self._drain()
        threads.stop()

    async def _drain(self) -> None:
        """Wait until all requests that have begun are answered, but not longer than gunicorn does."""
        self.service.stop()
        until = self.loop.time() + (0 if self._is_hurried else self.cfg.graceful_timeout)
        while self.service.connections and self.loop.time() < until:
            self.notify()
            self.service.check()
            await asyncio.sleep(0.05)
        for connection in tuple(self.service.connections):
            connection.abort()
        await asyncio.sleep(0)

    def is_parent_alive(self) -> bool:
        return bool(self.ppid == os.getppid())

    def _accept(self, listener: socket.socket) -> None:
        """Accept one client; the other processes accept the next, so that all have about as many."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client disconnected
        except OSError as error:  # no file descriptors or memory left
            log.warning("accept_failed", error=str(error))
            self.loop.remove_reader(listener)
            self.loop.call_later(_PAUSE_SECONDS, self._accept_again, listener)
            return
        if not self.service.may_open(address[0] if isinstance(address, tuple) else ""):
            client.close()
            return
        client.setblocking(False)
        self.loop.create_task(self._connect(client))

    def _accept_again(self, listener: socket.socket) -> None:
        if self.alive:
            self.loop.add_reader(listener, self._accept, listener)

    async def _connect(self, client: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(self.service.connect, client)
        except OSError:  # the client disconnected
            client.close()


def _allow_files(wanted: int) -> int:
    """Raise the process's limit of open files as far as it may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, wanted)
    if soft < wanted:
        soft = min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _common_environ(cfg: Any) -> dict[str, Any]:
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": "",
        "SERVER_PORT": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": cfg.workers > 1,
        "wsgi.run_once": False,
    }
