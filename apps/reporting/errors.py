"""Errors of the reporting API."""

from __future__ import annotations

from smsgateway.errors import GatewayError


class QueryTooSlow(GatewayError):
    """The statistics query took too long and was stopped"""

    code = "query_too_slow"
    status = 503
    retryable = True


class TooManyExports(GatewayError):
    """Too many exports are running"""

    code = "too_many_exports"
    status = 503
    retryable = True


class HttpVersionTooOld(GatewayError):
    """Exports over HTTP/1.0 must be compressed"""

    code = "http_version_too_old"
    status = 505
