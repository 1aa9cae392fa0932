"""Structured logs: JSON lines for machines, coloured lines for people. One event name, then fields."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(options: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG. `options`: `{"level": "info", "format": "json" | "console"}`."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=True, pad_event_to=24)
        if options["format"] == "console"
        else structlog.processors.JSONRenderer()
    )
    level = getattr(logging, options["level"].upper())
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    # Every answer has its own access line with its status; Django's second one says nothing more.
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    # The driver writes a trace for each failed connect; who called it says so in one line.
    logging.getLogger("clickhouse_driver").setLevel(logging.ERROR)
