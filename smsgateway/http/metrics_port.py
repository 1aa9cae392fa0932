"""The metrics of an HTTP service, on a port of their own: METRICS_PORT. The public port does not serve them.

The processes of a service count into files of one folder (PROMETHEUS_MULTIPROC_DIR). The first process, which starts
the others, adds them up at each scrape.
"""

from __future__ import annotations

import os
import sys

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from smsgateway.config import Config
from smsgateway.metrics_server import MetricsServer

log = structlog.get_logger(__name__)


def metrics_serve(config: Config) -> MetricsServer | None:
    """Serve the metrics of the service that this process starts; in development only if METRICS_PORT is set.

    Ends the process with one line if the port is taken.
    """
    port = config.general.metrics_port
    if not port and config.general.environment == "development":
        return None
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types there
    try:
        server = MetricsServer((config.http.host, port), is_healthy=lambda: True, registry=registry)
    except OSError as error:
        sys.exit(
            f"{config.general.service}: cannot listen on {config.http.host}:{port} for metrics ({error.strerror}). "
            "Stop what uses the port or set METRICS_PORT."
        )
    # The processes that are forked later must not keep the port open.
    os.register_at_fork(after_in_child=server.socket.close)
    server.start()
    log.info("metrics_served", port=server.server_port)
    return server
