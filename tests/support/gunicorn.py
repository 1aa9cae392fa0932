"""The services' gunicorn worker in this process, so that a test sees what a client sees and can still reach inside."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from smsgateway.http.server.worker import LoopWorker


class _Worker(LoopWorker):
    runs_on_loop = False  # the handler answers everything

    def init_signals(self) -> None:
        """Signals belong to the main thread."""

    def notify(self) -> None:
        """There is nobody who watches."""

    def is_parent_alive(self) -> bool:
        return True


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, handler: Callable[..., Any]) -> None:
        self.callable = handler
        self.cfg = Config()
        self.cfg.set("threads", 2)

    def load(self) -> Callable[..., Any]:
        return self.callable


@contextmanager
def serving(handler: Callable[..., Any]) -> Iterator[int]:
    """Serve the WSGI application on loopback until the block ends; the port."""
    application = _Application(handler)
    listener = socket.create_server(("127.0.0.1", 0))
    log = Logger(application.cfg)
    log.error_log.disabled = True
    worker = _Worker(0, 0, [listener], application, 30, application.cfg, log)
    thread = threading.Thread(target=worker.init_process, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        worker.loop.call_soon_threadsafe(worker.stop)
        thread.join()
        listener.close()
        worker.tmp.close()
