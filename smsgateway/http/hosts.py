"""The host names that the gateway answers to: HTTP_ALLOWED_HOSTS."""

from __future__ import annotations

import functools
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from smsgateway import errors

# Probes address a pod or a machine by its IP address, and their answers hold nothing of a customer.
ANY_HOST: Final = ("/healthz", "/readyz")


def check_host(request: HttpRequest) -> None:
    """Raises UnknownHost unless the request is addressed to one of our host names, or is a probe."""
    if request.path_info in ANY_HOST:
        return
    # HTTP/1.0 clients need not send a Host; the server's own address then stands for it.
    if not host_is_allowed(request.META.get("HTTP_HOST") or request.META.get("SERVER_NAME", "")):
        raise errors.UnknownHost("The Host header names no host of this gateway; HTTP_ALLOWED_HOSTS lists them.")


def host_is_allowed(host: str) -> bool:
    """Whether requests with this Host header, with or without a port, are answered."""
    return _is_allowed(host, tuple(settings.ALLOWED_HOSTS))


@functools.lru_cache(maxsize=1000)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)
