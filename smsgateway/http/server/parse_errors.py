"""The errors that callers get for what the parser refuses."""

from __future__ import annotations

from typing import Final

import httptools

from smsgateway import errors

_BAD_CHUNKS: Final = "The chunks of the body are not valid HTTP/1.1; the request had no effect."
_REASONS: Final = (
    (
        ("content-length", "transfer-encoding"),
        "Send one Content-Length, or Transfer-Encoding: chunked, and never both.",
    ),
    (("method",), "The method is not valid."),
    (("url",), "The request line is not valid."),
    (("version",), "Use HTTP/1.1."),
    (("whitespace after header",), "A header must not continue on the next line."),
    (("header",), "A header is not valid, or contradicts another."),
)


def error_of(error: httptools.HttpParserError, *, in_body: bool) -> errors.GatewayError:
    """The error for a request that could not be parsed. `in_body`: its head could."""
    if isinstance(error.__context__, errors.GatewayError):  # one of the calls above raised it
        return error.__context__
    if in_body:
        return errors.MalformedRequest(_BAD_CHUNKS)
    text = str(error).lower()
    for words, reason in _REASONS:
        if any(word in text for word in words):
            return errors.MalformedRequest(reason)
    return errors.MalformedRequest("The request is not valid HTTP/1.1.")
