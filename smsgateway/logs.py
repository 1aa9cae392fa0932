"""Structured logs: JSON lines for machines, coloured lines for people. One event name, then fields.

What nobody may read in a log is masked here, once for all lines: fields that are secrets or texts by their name, and
keys, passwords and the values of rows within errors and traces, which other libraries write.
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
_TOLD_BY_OTHERS: Final = ("error", "exception", "path", "url", "reason")
_SECRETS: Final = re.compile(
    r"(?P<key>sgw_[0-9a-zA-Z_-]{4})[0-9a-zA-Z_-]+"  # an API key but for its first characters
    r"|(?P<bearer>(?i:bearer|basic) +)\S+"
    r"|(?P<hook>whsec_)[\w+/=-]+"  # a secret of callbacks
    r"|(?P<password>\w://[^\s:/@]*:)[^\s/@]+(?=@)"
    r"|(?P<row>(?:Failing row contains|Key) )\(.*\)"  # PostgreSQL tells the values of rows that it refuses
)


def mask_text(text: str) -> str:
    """The text without secrets that are known by their form."""
    return _SECRETS.sub(lambda found: "".join(part for part in found.groups() if part) + MASK, text)


def mask(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A structlog processor, before the renderer."""
    for name in _SECRET_FIELDS & event.keys():
        event[name] = MASK
    for name in _TOLD_BY_OTHERS:
        if isinstance(told := event.get(name), str):
            event[name] = mask_text(told)
    if "_record" in event:  # a line of a library: its text is all there is
        event["event"] = mask_text(str(event["event"]))
    return event


def at_debug() -> bool:
    """Whether lines of single messages are wanted: ask before gathering what they tell."""
    return _level <= logging.DEBUG


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
    # Every answer has its own access line with its status; Django's second one says nothing more.
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    # The driver writes a trace for each failed connect; who called it says so in one line.
    logging.getLogger("clickhouse_driver").setLevel(logging.ERROR)
