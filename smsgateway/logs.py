"""Structured logs: JSON lines for machines, colored lines for people. Each line has an event name and fields.

All lines are masked here: fields whose names mark them as secrets or message texts, and keys, passwords and values of
rows inside the errors and traces of other libraries.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final

import structlog

MASK: Final = "***"
_SECRET_FIELDS: Final = frozenset(
    ("text", "body", "to", "recipient", "key", "api_key", "token", "password", "secret", "authorization", "headers")
)
_FOREIGN_TEXTS: Final = ("error", "exception", "path", "url", "reason")
_SECRETS: Final = re.compile(
    r"(?P<key>sgw_[0-9a-zA-Z_-]{4})[0-9a-zA-Z_-]+"  # an API key, except its first characters
    r"|(?P<bearer>(?i:bearer|basic) +)\S+"
    r"|(?P<hook>whsec_)[\w+/=-]+"  # a secret that signs callbacks
    r"|(?P<password>\w://[^\s:/@]*:)[^\s/@]+(?=@)"
    r"|(?P<row>(?:Failing row contains|Key) )\(.*\)"  # PostgreSQL shows the values of rows that it refuses
)


def mask_text(text: str) -> str:
    """The text with secrets masked that can be recognized by their form."""
    return _SECRETS.sub(lambda found: "".join(part for part in found.groups() if part) + MASK, text)


def mask(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A structlog processor that masks secrets; it must come before the renderer."""
    for name in _SECRET_FIELDS & event.keys():
        event[name] = MASK
    for name in _FOREIGN_TEXTS:
        if isinstance(text := event.get(name), str):
            event[name] = mask_text(text)
    if "_record" in event:  # a library's line has only a text
        event["event"] = mask_text(str(event["event"]))
    return event


def at_debug() -> bool:
    """Whether lines about single messages are logged; check it before you gather their fields."""
    return _level <= logging.DEBUG


def at_info() -> bool:
    """Whether a line for each request is logged."""
    return _level <= logging.INFO


_level = logging.INFO


def configure(options: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG. `options`: `{"level": "info", "format": "json" | "console"}`."""
    global _level
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=True, pad_event_to=24)
        if options["format"] == "console"
        else structlog.processors.JSONRenderer()
    )
    level = _level = getattr(logging, options["level"].upper())
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
    # Every response already has an access line with its status; Django's line would only repeat it.
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    # The driver logs a trace for each failed connect; its caller logs one line.
    logging.getLogger("clickhouse_driver").setLevel(logging.ERROR)
