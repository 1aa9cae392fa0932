"""Which addresses a customer may have its callbacks sent to. What a name resolves to is checked when it is called."""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from django.conf import settings

from smsgateway.config.delivery import Callback
from smsgateway.egress import is_private_host
from smsgateway.http.field_errors import FieldError, fault

LONGEST = 2048


def url_complaint(url: str, *, config: Callback) -> str | None:
    """What is wrong with the address, for people; None if it may be called."""
    return _complaint(url, config.private, tuple(map(int, config.ports)))


def url_errors(field: str, url: str) -> list[FieldError]:
    """An error of this field if its URL must not be called. An empty URL must not be called either."""
    complaint = url_complaint(url, config=settings.CONFIG.callback)
    return [fault(field, "invalid_url", complaint)] if complaint else []


@functools.lru_cache(maxsize=1024)  # the messages of a batch have mostly the same one
def _complaint(url: str, private: bool, ports: tuple[int, ...]) -> str | None:
    schemes = ("https", "http") if private else ("https",)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"It must be an {' or '.join(schemes)} address, percent-encoded."
    if parts.scheme not in schemes or not parts.hostname or port == 0 or not _is_plain(url):
        return f"It must be an {' or '.join(schemes)} address, percent-encoded."
    if "@" in parts.netloc:
        return "It may hold no user name or password."
    if "#" in url:
        return "It may have no fragment (#)."
    if private:
        return None
    if (port or 443) not in ports:
        return f"Its port must be one of {', '.join(map(str, ports))}."
    if is_private_host(parts.hostname):
        return "Its host must be one of the public internet."
    return None


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and not any(character in url for character in ' "<>\\^`{|}')
