"""Checks the URLs of callbacks. The addresses that a host resolves to are checked when it is called."""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from django.conf import settings

from smsgateway.config.delivery import Callback
from smsgateway.egress import is_private_host
from smsgateway.http.field_errors import FieldError, fault

LONGEST = 2048


def url_complaint(url: str, *, config: Callback) -> str | None:
    """Why the URL must not be called, for people to read; None if it may be called."""
    return _complaint(url, config.private, tuple(map(int, config.ports)))


def url_errors(field: str, url: str) -> list[FieldError]:
    """An error of this field if its URL must not be called. An empty URL must not be called either."""
    complaint = url_complaint(url, config=settings.CONFIG.callback)
    return [fault(field, "invalid_url", complaint)] if complaint else []


@functools.lru_cache(maxsize=1024)  # most messages of a batch have the same one
def _complaint(url: str, private: bool, ports: tuple[int, ...]) -> str | None:
    schemes = ("https", "http") if private else ("https",)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"It must be an {' or '.join(schemes)} URL, percent-encoded."
    if parts.scheme not in schemes or not parts.hostname or port == 0 or not _is_plain(url):
        return f"It must be an {' or '.join(schemes)} URL, percent-encoded."
    if "@" in parts.netloc:
        return "It must not have a user name or password."
    if "#" in url:
        return "It must not have a fragment (#)."
    if private:
        return None
    if (port or 443) not in ports:
        return f"Its port must be one of {', '.join(map(str, ports))}."
    if is_private_host(parts.hostname):
        return "Its host must be on the public internet."
    return None


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and not any(character in url for character in ' "<>\\^`{|}')
