"""What can be wrong about a question to the statistics."""

from __future__ import annotations

from smsgateway.errors import GatewayError


class QueryTooSlow(GatewayError):
    """The statistics database took too long and was stopped"""

    code = "query_too_slow"
    status = 503
    retryable = True


class TooManyExports(GatewayError):
    """Enough exports are being written already"""

    code = "too_many_exports"
    status = 503
    retryable = True


class HttpVersionTooOld(GatewayError):
    """Over HTTP/1.0 a file that was cut short could not be told from a whole one"""

    code = "http_version_too_old"
    status = 505
