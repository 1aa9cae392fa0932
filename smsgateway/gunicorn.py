"""gunicorn's configuration: `SERVICE=api gunicorn -c python:smsgateway.gunicorn smsgateway.wsgi`."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import sys
import tempfile
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")

from smsgateway import tracing
from smsgateway.settings import CONFIG

_PORTS = {"api": 8080, "reporting": 8081, "admin": 8082}

# prometheus_client keeps the counters of all processes in this folder, so that /metrics adds them up.
_metrics_folder = tempfile.mkdtemp(prefix="smsgateway-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder

from gunicorn.glogging import Logger  # noqa: E402

from smsgateway.checks import stop_on_problems  # noqa: E402


class JsonLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Sends gunicorn's own log lines through the structured log."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True


stop_on_problems()

_host, _port = CONFIG.http.host, CONFIG.http.port or _PORTS[CONFIG.general.service]
with socket.socket() as _probe:
    # gunicorn itself would retry for five seconds and then report less.
    _probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        _probe.bind((_host, _port))
    except OSError as _error:
        sys.exit(
            f"{CONFIG.general.service}: cannot listen on {_host}:{_port} ({_error.strerror}). "
            "Stop what uses the port or set HTTP_PORT."
        )
bind = f"{_host}:{_port}"
proc_name = f"smsgateway-{CONFIG.general.service}"
worker_class = "smsgateway.http.server.worker.LoopWorker"
workers = CONFIG.http.workers or len(os.sched_getaffinity(0))
threads = CONFIG.http.threads
timeout = CONFIG.http.timeout
graceful_timeout = CONFIG.http.timeout
keepalive = 75
backlog = 2048
preload_app = True
# Heartbeat files in memory: a busy disk must not make a healthy process look hung.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
accesslog = None
errorlog = "-"
logger_class = JsonLogger
loglevel = "warning"


def post_fork(_server: Any, _worker: Any) -> None:
    """Exclude what was loaded before the fork from garbage collection: it stays in memory anyway."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    tracing.start(CONFIG.general.service, CONFIG.tracing)  # after the fork: its sender is a thread


def worker_exit(_server: Any, _worker: Any) -> None:
    tracing.stop()


def child_exit(_server: Any, worker: Any) -> None:
    """Drop the live gauges of a process that ended."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # the library has no types there


def on_exit(_server: Any) -> None:
    shutil.rmtree(_metrics_folder, ignore_errors=True)
